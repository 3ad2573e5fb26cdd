"""Passes the events of one stream on, as far as its hold covers them.

What the client's socket was handed is charged, so an event leaves only once its tokens are covered. While the slice held reaches far
enough, which is nearly always, the events of a chunk go together and nobody waits for anything.
Units: tokens, bytes. Errors: what `cover` raises where the budget ends; the event that would go beyond it does not leave.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol

from gateway.meter.tally import StreamTally


class Cover(Protocol):
    """What is held for a call (`gateway.admission.keep.Lease`)."""

    is_capped: bool
    covered_tokens: int

    def saw(self, output_tokens: int, input_tokens: int) -> None: ...
    async def cover(self, output_tokens: int) -> None: ...


class Relay:
    """One stream on its way to the client."""

    def __init__(self, write: Callable[[bytes], Awaitable[None]], tally: StreamTally, held: Cover) -> None:
        self._write = write
        self._tally = tally
        self._held = held

    async def pass_on(self, events: list[bytes]) -> None:
        """Count the next events and hand them to the client."""
        tally, held = self._tally, self._held
        # No event has more tokens than bytes.
        if not held.is_capped or tally.output_tokens_seen + sum(map(len, events)) <= held.covered_tokens:
            passed = tally.pass_on(events)
        else:
            passed = await self._one_by_one(events)
        if passed:
            await self._write(passed)
        held.saw(tally.output_tokens_seen, tally.input_tokens_told)

    async def _one_by_one(self, events: list[bytes]) -> bytes:
        """Events near the end of what is covered: those that are go out, the rest waits for an extension."""
        tally, held = self._tally, self._held
        passed: list[bytes] = []
        for event in events:
            needed = tally.output_tokens_with(event)
            if needed > held.covered_tokens:
                if passed:
                    await self._write(b"".join(passed))
                    passed.clear()
                held.saw(tally.output_tokens_seen, tally.input_tokens_told)
                await held.cover(needed)
            passed.append(tally.pass_on([event]))
        return b"".join(passed)
