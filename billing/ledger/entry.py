"""From a settled call to its entry, with what it costs. Pure.

Units: counts as in `billing.usage`; costs in whole units of 10^−places USD (`prices.UnitPrices`), so exact, and Decimal only where they
are read again. An entry's id is its call's. Where an orphan's estimate is replaced by the call's settlement, two more entries stand
beside it: its reversal and the exact one, whose ids follow from the call's, so that a repeated delivery makes the same ids and changes
nothing. What calls of one caller at one price have in common is worked out once and kept (`Common`): pricing, hashing and copying an
entry then costs 20 µs instead of 100 (measured 2026-11).
Errors: what reading a malformed record raises (`ValueError`, `decimal.InvalidOperation`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import lru_cache
from typing import Any, NamedTuple
from uuid import UUID

import msgspec

from billing.ids import derived_id, instant_of
from billing.ledger.record import UsageRecord, from_wire_prices
from billing.money import shift
from billing.periods import zone_of
from billing.prices import UnitPrices, unit_prices, units
from billing.usage import NOTHING, Usage

COUNTS = ("input_tokens", "cached_input_tokens", "output_tokens", "standard_pages", "enhanced_pages")
GRANTED = ("granted_input_tokens", "granted_cached_input_tokens", "granted_output_tokens")
ABSORBED = tuple(f"absorbed_{name}" for name in COUNTS)
PRICES = ("input_price", "cached_input_price", "output_price", "standard_price", "enhanced_price")
COSTS = ("list_cost", "cost", "buy_cost", "absorbed_buy_cost")
SLOT_S = 900
"""A quarter of an hour. Every zone in use is a whole number of these away from UTC (Asia/Kathmandu: 5:45), since 1972."""

_HOUR_S, _SECOND_US = 3600, 1_000_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NO_COUNTS = (0, 0, 0, 0, 0)
_COMMON_MAX = 16_384

Grants = tuple[tuple[str, str, int], ...]
"""(grant id, kind, tokens) for each part that a grant paid."""


@dataclass(frozen=True, slots=True)
class Settled:
    """A record and how grants were spent on it: (grant id, kind, tokens), as decided at settlement."""

    record: UsageRecord
    grants: Grants = ()

    @property
    def granted(self) -> Usage:
        if not self.grants:
            return NOTHING
        taken = {"input": 0, "cached_input": 0, "output": 0}
        for _, kind, tokens in self.grants:
            taken[kind] += tokens
        return Usage(taken["input"], taken["cached_input"], taken["output"])


Prices = tuple[str, str, str, str, str]


class Shared(NamedTuple):
    """What calls of one caller, at one price, booked into one month say alike. Money as the record has it; `buy_prices` too."""

    account_id: str
    key_id: str
    zone: str
    billing_month: str
    booked_month: str
    endpoint: str
    model_asked: str
    model: str
    model_answered: str | None
    card_id: str
    prices: Prices
    discount: str
    discount_reason: str
    buy_prices: Prices | None


class Common:
    """What follows from `Shared`, worked out once: unit prices here; `lines.py` keeps its texts in `texts`."""

    __slots__ = ("buy", "charged", "listed", "places", "shared", "texts")

    def __init__(
        self, shared: Shared, listed: UnitPrices, charged: UnitPrices, buy: UnitPrices | None, texts: Any = None
    ) -> None:
        self.shared = shared
        self.listed = listed
        self.charged = charged
        self.buy = buy
        self.places = (listed.places, charged.places, 0 if buy is None else buy.places)
        self.texts = texts


class Entry(msgspec.Struct, frozen=True, gc=False):
    """An entry that is to be written. Ids as 32 hexadecimal digits; a reversal's counts and costs are negative."""

    common: Common
    entry_id: str
    call_id: str
    reverses: str
    """The id of the entry that it undoes; empty for a call."""
    accepted_at: str
    slot: int
    """Quarters of an hour since 1970."""
    day: str
    partition_month: int
    counts: tuple[int, ...]
    granted: tuple[int, ...]
    absorbed: tuple[int, ...]
    list_units: int
    cost_units: int
    buy_units: int
    """Nought where the buy price is not known (`common.buy` is None)."""
    absorbed_buy_units: int
    absorbed_reason: str | None
    estimated_reason: str | None
    streamed: bool
    attempts: int
    upstream_key: str | None = None


def partition_of(call_id: UUID) -> int:
    """The UTC month of an id, as 202611."""
    made = instant_of(call_id)
    return made.year * 100 + made.month


def reversal_id(call_id: UUID) -> UUID:
    """The id of the reversal of a call's estimate."""
    return derived_id(call_id, "reversal")


def exact_id(call_id: UUID) -> UUID:
    """The id of the entry that replaces a call's estimate."""
    return derived_id(call_id, "exact")


def entry_of(item: Settled, open_from: str) -> Entry:
    """The entry of a call; booked into its own month, or into the first one open where that is closed (`open_from`)."""
    record, granted = item.record, item.granted
    usage = Usage(*record.usage)
    terms = _terms_of(
        record.zone,
        record.billing_month,
        record.endpoint,
        record.model_asked,
        record.model,
        record.model_answered,
        record.card_id,
        record.prices,
        record.discount,
        record.discount_reason,
        record.buy_prices,
    )
    booked_month = open_from if open_from > record.billing_month else record.billing_month
    common = _common_of(record.account_id, record.key_id, booked_month, terms)
    seconds, rest_ns = divmod(record.accepted_ns, 1_000_000_000)
    minute, second = divmod(seconds, 60)
    slot = seconds // SLOT_S
    absorbed = Usage(*record.absorbed) if record.absorbed != _NO_COUNTS else NOTHING
    buy, plain = common.buy, granted is NOTHING and common.charged is common.listed
    listed = units(usage, NOTHING, common.listed)
    call_id = record.call_id
    return Entry(
        common,
        call_id,
        call_id,
        "",
        f"{_minute(minute)}{second:02d}.{rest_ns // 1000:06d}Z",
        slot,
        _day(record.zone, slot),
        _partition(int(call_id[:12], 16) // (1000 * _HOUR_S)),
        record.usage,
        (granted.input_tokens, granted.cached_input_tokens, granted.output_tokens),
        record.absorbed,
        listed,
        listed if plain else units(usage, granted, common.charged),
        0 if buy is None else units(usage, NOTHING, buy),
        0 if buy is None or absorbed is NOTHING else units(absorbed, NOTHING, buy),
        record.absorbed_reason,
        record.estimated_reason,
        record.streamed,
        record.attempts,
        record.upstream_key,
    )


class _Terms:
    """What `Shared` holds of calls of many callers, in two parts, and what it comes to.

    There is one of each (`_terms_of`), which is its own key: comparing a dozen texts a call costs more than pricing it.
    """

    __slots__ = ("after", "before", "buy", "charged", "listed")

    def __init__(self, before: tuple[Any, ...], after: tuple[Any, ...]) -> None:
        self.before = before
        self.after = after
        prices, discount, _, buy_prices = after[-4:]
        exact, rate = from_wire_prices(prices), Decimal(discount)
        self.listed = unit_prices(exact, Decimal(0))
        self.charged = unit_prices(exact, rate) if rate else self.listed
        self.buy = None if buy_prices is None else unit_prices(from_wire_prices(buy_prices), Decimal(0))


@lru_cache(maxsize=_COMMON_MAX)
def _terms_of(zone: str, billing_month: str, *after: Any) -> _Terms:
    return _Terms((zone, billing_month), after)


@lru_cache(maxsize=_COMMON_MAX)
def _common_of(account_id: str, key_id: str, booked_month: str, terms: _Terms) -> Common:
    shared = Shared._make((account_id, key_id, *terms.before, booked_month, *terms.after))
    return Common(shared, terms.listed, terms.charged, terms.buy)


@lru_cache(maxsize=4096)
def _minute(minute: int) -> str:
    return (_EPOCH + timedelta(minutes=minute)).strftime("%Y-%m-%dT%H:%M:")


@lru_cache(maxsize=4096)
def _day(zone: str, slot: int) -> str:
    """The day of a quarter of an hour in a zone."""
    return (_EPOCH + timedelta(seconds=slot * SLOT_S)).astimezone(zone_of(zone)).date().isoformat()


@lru_cache(maxsize=4096)
def _partition(hour: int) -> int:
    month = _EPOCH + timedelta(hours=hour)
    return month.year * 100 + month.month


def exact_of(entry: Entry) -> Entry:
    """The entry that takes the place of a call's estimate."""
    return msgspec.structs.replace(entry, entry_id=exact_id(UUID(hex=entry.call_id)).hex)


def reversal_of(row: Mapping[str, Any], open_from: str) -> Entry:
    """The entry that undoes one that stands in the ledger, to the last digit; booked where entries of its month are booked now."""
    costs = [row[name] for name in COSTS]
    places = [0 if cost is None else max(0, -int(cost.as_tuple().exponent)) for cost in costs]
    list_units, cost_units, buy_units, absorbed_buy_units = (
        0 if cost is None else -int(shift(cost, max(at, places[2], places[3]) if number > 1 else at))
        for number, (cost, at) in enumerate(zip(costs, places, strict=True))
    )
    shared = Shared(
        **{
            name: row[name]
            for name in Shared._fields
            if name not in ("booked_month", "prices", "discount", "buy_prices")
        },
        booked_month=max(row["billing_month"], open_from),
        prices=_five(row[name] for name in PRICES),
        discount=str(row["discount"]),
        buy_prices=row["buy_prices"] and _five(row["buy_prices"]),
    )
    none = UnitPrices(_NO_COUNTS, 0)
    buy = None if row["buy_cost"] is None else none._replace(places=max(places[2], places[3]))
    seconds = int((row["accepted_at"] - _EPOCH).total_seconds())
    return Entry(
        Common(shared, none._replace(places=places[0]), none._replace(places=places[1]), buy),
        reversal_id(row["call_id"]).hex,
        row["call_id"].hex,
        row["entry_id"].hex,
        row["accepted_at"].astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        seconds // SLOT_S,
        row["day"].isoformat(),
        row["partition_month"],
        _negated(row, COUNTS),
        _negated(row, GRANTED),
        _negated(row, ABSORBED),
        list_units,
        cost_units,
        buy_units,
        absorbed_buy_units,
        row["absorbed_reason"],
        row["estimated_reason"],
        row["streamed"],
        row["attempts"],
        row["upstream_key"],
    )


def _negated(row: Mapping[str, Any], names: Iterable[str]) -> tuple[int, ...]:
    return tuple(-row[name] for name in names)


def _five(prices: Iterable[Decimal]) -> Prices:
    input_, cached, output, standard, enhanced = map(str, prices)
    return input_, cached, output, standard, enhanced
