"""What a caller pays for a model, and where its calls count: worked out once a second, and not once a call.

Nothing of it is older than that: another caller (its key or account changed), a rate card that was posted, and another second have it
worked out anew; a second in which a price or a discount begins is not remembered at all.
Bounds: `entries_max` callers and models; beyond it all are forgotten. Units: Unix nanoseconds.
Errors: `ModelNotFound`, `KeyNotAllowed` (not this model), `ServiceUnavailable` where no card could be read yet.
"""

from __future__ import annotations

from datetime import timedelta

import msgspec

from billing.periods import Month
from billing.prices import Price
from gateway.call import Caller, Place
from gateway.clock import from_ns
from gateway.errors import KeyNotAllowed
from gateway.keys.prices import PriceTable

_SECOND_NS = 1_000_000_000


class Standing(msgspec.Struct, frozen=True, gc=False):
    """Of one caller, for one model, within one second."""

    caller: Caller
    second: int
    prices_version: int
    price: Price
    month: Month
    place: Place


class Standings:
    """Those of one process."""

    def __init__(self, prices: PriceTable, *, entries_max: int = 4096) -> None:
        self._prices = prices
        self._entries_max = entries_max
        self._known: dict[tuple[str, str, str], Standing] = {}

    def known(self, caller: Caller, endpoint: str, model: str, accepted_ns: int) -> Standing | None:
        """What was worked out before, where it still holds."""
        standing = self._known.get((caller.key_id, endpoint, model))
        if (
            standing is not None
            and standing.caller is caller
            and standing.second == accepted_ns // _SECOND_NS
            and standing.prices_version == self._prices.version
        ):
            return standing
        return None

    async def find(self, caller: Caller, endpoint: str, model: str, accepted_ns: int) -> Standing:
        """Work it out."""
        at, second = from_ns(accepted_ns), accepted_ns // _SECOND_NS
        price = await self._prices.price(model, caller, at)
        if caller.models is not None and not caller.models & {model, price.model}:
            raise KeyNotAllowed(f"This key is not allowed to use the model '{price.model}'.", param="model")
        month = Month.of(at, caller.zone)
        place = Place.of(caller, (price.model, model), str(month))
        standing = Standing(caller, second, self._prices.version, price, month, place)
        start = from_ns(second * _SECOND_NS)
        if self._prices.is_constant(caller, start, start + timedelta(seconds=1)):
            if len(self._known) >= self._entries_max:
                self._known.clear()
            self._known[caller.key_id, endpoint, model] = standing
        return standing
