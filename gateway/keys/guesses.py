"""Slows down who guesses keys: counts the unknown keys that each address shows, and refuses to look up more of them.

Every address has an allowance that fills up again with time; so have all addresses together. An address without allowance is answered
429 without a look-up; while the common allowance is empty, so is every address that has guessed lately. A key that this process knows
never asks here, so no address can lock out another's key, nor its own that is in use. The counts are kept twice: here, where a look-up
is refused without asking anybody, and in Redis for all workers together (`scripts/guesses.lua`). While Redis is away they are this
process's own: N workers then allow N times as much, which is still nothing against 256 random bits.
Units: seconds, counts. Bounds: `addresses_max` addresses are remembered; the one unseen for longest is forgotten.
Errors: `RateLimited`.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Any

from gateway.errors import RateLimited

_LATELY_S = 60.0

Ask = Callable[[tuple[Any, ...]], Awaitable[list[Any]]]
"""Ask the tick script; `OSError` where Redis does not answer (`StoreUnavailable` is one)."""


class Guesses:
    """The allowances of one process."""

    def __init__(
        self,
        *,
        burst: int,
        per_minute: int,
        addresses_max: int,
        everyone_factor: int = 20,
        now: Callable[[], float] = time.monotonic,
        shared: Ask | None = None,
    ) -> None:
        self._shared = shared
        self._terms = (burst, per_minute, everyone_factor)
        self._burst = float(burst)
        self._per_s = per_minute / 60
        self._everyone_burst = self._burst * everyone_factor
        self._everyone_per_s = self._per_s * everyone_factor
        self._addresses_max = addresses_max
        self._now = now
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()  # allowance, as of
        self._everyone = (self._everyone_burst, now())

    async def look_up(self, site: str) -> None:
        """One look-up of a key that may be a guess; raises `RateLimited` where the allowance is used up, here or over all workers."""
        self.take(site)
        reply = await self._tell(site, 1)
        if reply[0] == "no":
            self.give_back(site)
            raise _refused(int(reply[1]) / 1000)

    async def was_none(self, site: str) -> None:
        """The key was no guess."""
        self.give_back(site)
        await self._tell(site, -1)

    async def _tell(self, site: str, change: int) -> list[Any]:
        if self._shared is None:
            return ["ok"]
        try:
            return await self._shared(("G", site, *self._terms, change))
        except OSError:
            return ["ok"]

    # ---- this process's own -------------------------------------------------------------------------------------------------

    def take(self, site: str) -> None:
        """One look-up, counted here."""
        now = self._now()
        left = self._left_of(site, now)
        everyone = min(self._everyone_burst, self._everyone[0] + (now - self._everyone[1]) * self._everyone_per_s)
        if left < 1:
            raise _refused((1 - left) / self._per_s)
        if everyone < 1 and now - self._left.get(site, (0, -_LATELY_S))[1] < _LATELY_S:
            raise _refused((1 - everyone) / self._everyone_per_s)
        self._keep(site, left - 1, now)
        self._everyone = (max(0.0, everyone - 1), now)

    def give_back(self, site: str) -> None:
        """The key was no guess."""
        now = self._now()
        left = min(self._burst, self._left_of(site, now) + 1)
        if left >= self._burst:
            self._left.pop(site, None)
        else:
            self._keep(site, left, now)
        self._everyone = (min(self._everyone_burst, self._everyone[0] + 1), self._everyone[1])

    def _left_of(self, site: str, now: float) -> float:
        left, since = self._left.get(site, (self._burst, now))
        return min(self._burst, left + (now - since) * self._per_s)

    def _keep(self, site: str, left: float, now: float) -> None:
        self._left[site] = (left, now)
        self._left.move_to_end(site)
        while len(self._left) > self._addresses_max:
            self._left.popitem(last=False)


def _refused(wait_s: float) -> RateLimited:
    return RateLimited("unknown API keys from this address", max(1, int(wait_s * 1000) + 1), {})
