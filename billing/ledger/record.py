"""A usage record: what the gateway appends to the stream when a call is settled, and what the drain reads.

The record carries its own prices and discount (its grant split stands beside it), so that pricing it needs nothing else and can never
come out differently. Units: instants in Unix nanoseconds (gateway clock), prices as decimal strings (USD per million tokens, or per page).
Errors: `msgspec.ValidationError` for bytes that are no record.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from functools import lru_cache
from uuid import UUID

import msgspec

from billing.periods import zone_of
from billing.prices import ModelPrice, Price
from billing.usage import Usage

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

ORPHANED = "worker lost"
"""How the reason of an estimate begins that was booked because the call's worker died. A later settlement of the call replaces it."""


def is_orphans(estimated_reason: str | None) -> bool:
    """Is this why the sweep, and not the call's own settlement, made an entry?"""
    return estimated_reason is not None and estimated_reason.startswith(ORPHANED)


class UsageRecord(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """One settled call. The order of the fields is the wire format: append only."""

    call_id: str
    account_id: str
    key_id: str
    accepted_ns: int
    billing_month: str
    endpoint: str
    model_asked: str
    model: str
    model_answered: str | None
    card_id: str
    prices: tuple[str, str, str, str, str]
    discount: str
    discount_reason: str
    usage: tuple[int, int, int, int, int]
    estimated_reason: str | None
    streamed: bool
    attempts: int
    # Since migration 0002. Records without these fields still decode: they absorbed nothing and know no buy price.
    absorbed: tuple[int, int, int, int, int] = (0, 0, 0, 0, 0)
    """What upstream served beyond the charged `usage`: ours to pay, never the caller's."""
    absorbed_reason: str | None = None
    buy_prices: tuple[str, str, str, str, str] | None = None
    """Upstream's own prices at that time, in the order of `prices`; None where the rate card does not say."""
    zone: str = "UTC"
    """The account's zone, in which `billing_month` was found."""
    upstream_key: str | None = None
    """The public name of the key with upstream that answered; None where nobody knows (an orphan's estimate)."""

    @property
    def uuid(self) -> UUID:
        return UUID(hex=self.call_id)

    @property
    def is_orphan(self) -> bool:
        """Is this the estimate of a call whose worker died, which a settlement of the same call replaces?"""
        return is_orphans(self.estimated_reason)

    @property
    def accepted_at(self) -> datetime:
        return _EPOCH + timedelta(microseconds=self.accepted_ns // 1000)

    @property
    def day(self) -> date:
        """The day of the call in the account's zone."""
        return self.accepted_at.astimezone(zone_of(self.zone)).date()


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(UsageRecord)


def to_wire_record(record: UsageRecord) -> str:
    """JSON text, because it travels inside MessagePack to Redis's Lua, which knows no binary type there."""
    return _encoder.encode(record).decode()


def from_wire_record(data: bytes) -> UsageRecord:
    return _decoder.decode(data)


def to_wire_prices(price: Price) -> tuple[str, str, str, str, str]:
    """The prices of a record, in the order of `UsageRecord.prices`."""
    return price.texts


@lru_cache(maxsize=4096)
def from_wire_prices(prices: tuple[str, str, str, str, str]) -> ModelPrice:
    return ModelPrice(*map(Decimal, prices))


def to_wire_counts(usage: Usage) -> tuple[int, int, int, int, int]:
    """The counts of a record, in the order of `UsageRecord.usage`."""
    return (
        usage.input_tokens,
        usage.cached_input_tokens,
        usage.output_tokens,
        usage.standard_pages,
        usage.enhanced_pages,
    )
