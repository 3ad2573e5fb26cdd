"""The leaf values that are handed from room to room.

Units: `_ns` Unix nanoseconds on the gateway's clock, `_nano_usd` whole nano-USD, tokens. Values only: no room is named here.
They are msgspec structs, because a call makes half a dozen of them and a frozen dataclass costs ten times as much to make; none can hold
itself, so that the garbage collector need not know them (`gc=False`).
"""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Network
from uuid import UUID

import msgspec

from billing.periods import Month
from billing.prices import Price
from billing.usage import NOTHING, Usage

NO_CAP = -1
"""A cap that is not set, where the script wants a number."""


class RateLimit(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Limits of one scope (`a:<account>` or `k:<key>`); 0 = none. In this order they go to the script."""

    scope: str
    requests_per_minute: int = 0
    tokens_per_minute: int = 0
    concurrency: int = 0

    @property
    def is_any(self) -> bool:
        """Does it limit anything?"""
        return bool(self.requests_per_minute or self.tokens_per_minute or self.concurrency)


class Caller(msgspec.Struct, frozen=True, gc=False):
    """Who calls, and on which terms: the newest state of a key and its account, at most `key_cache_s` old."""

    account_id: str
    key_id: str
    epoch: int
    zone: str
    currency: str
    suspended: bool = False
    revoked: bool = False
    confirmed: bool = True
    """False where the database could not be asked again: only Redis, by the epoch, can still say that nothing has changed."""
    expires_at: datetime | None = None
    models: frozenset[str] | None = None
    endpoints: frozenset[str] | None = None
    networks: tuple[IPv4Network | IPv6Network, ...] | None = None
    rate_limits: tuple[RateLimit, ...] = ()
    model_limits: tuple[tuple[str, RateLimit], ...] = ()
    """Limits of the calls of one model, by its name."""
    monthly_cap_nano_usd: int = NO_CAP
    key_cap_nano_usd: int = NO_CAP
    prepaid_nano_usd: int | None = None
    discounts: tuple[tuple[datetime, str, Decimal, str], ...] = ()
    """Since when which tier gives which discount, and why: oldest first."""

    def discount_at(self, instant: datetime) -> tuple[Decimal, str, str]:
        """The club discount in force at an instant, the name of its tier, and why (as the entry of a call says it)."""
        in_force = (Decimal(0), "none", "none")
        for since, tier, discount, reason in self.discounts:
            if since > instant:
                break
            in_force = (discount, tier, reason)
        return in_force

    def money_scopes(self, month: str) -> list[tuple[str, int]]:
        """The counters that a call of a month moves, each with its cap in nano-USD (`NO_CAP` = none)."""
        of_month, of_key = _scopes_of(self.key_id, month)
        scopes = [(of_month, self.monthly_cap_nano_usd), (of_key, self.key_cap_nano_usd)]
        if self.prepaid_nano_usd is not None:
            scopes.append((PREPAID_SCOPE, self.prepaid_nano_usd))
        return scopes


PREPAID_SCOPE = "prepaid"


@lru_cache(maxsize=4096)
def _scopes_of(key_id: str, month: str) -> tuple[str, str]:
    return f"m:{month}", f"k:{key_id}:{month}"


class Place(msgspec.Struct, frozen=True, gc=False):
    """Where the calls of one caller for one model count, in one month.

    It is worked out once (`gateway.keys.standing`) and not twice a call.
    """

    rates: tuple[RateLimit, ...]
    money: list[tuple[str, int]]
    """Counters, each with its cap in nano-USD."""
    month: str

    @classmethod
    def of(cls, caller: Caller, models: tuple[str, str], month: str) -> Place:
        """The place of calls of a model, by its name and as it was asked for."""
        rates = caller.rate_limits
        if caller.model_limits:
            rates += tuple(limit for model, limit in caller.model_limits if model in models)
        return cls(rates, caller.money_scopes(month), month)


class Call(msgspec.Struct, frozen=True, gc=False):
    """One call of a model, from admission to the ledger. `accepted_ns` is taken once and decides month, card, tier and grant."""

    id: UUID
    caller: Caller
    accepted_ns: int
    month: Month
    endpoint: str
    model_asked: str
    streamed: bool
    price: Price
    prompt_tokens_max: int
    prompt_tokens_best: int
    output_tokens_max: int
    output_tokens_expected: int
    pages_max: int = 0
    pages_best: int = 0
    output_tokens_first: int | None = None
    """How many output tokens are held at first, where that is not all: a stream without a bound is extended while it runs."""
    output_tokens_min: int = 0
    """How few would do where a budget covers no more; 0 = only all of them will."""
    continues: UUID | None = None
    """The call that this is another attempt of: its worker died before upstream answered. Only the hold is this attempt's own."""
    attempts_before: int = 0
    place: Place | None = None
    """Where that was worked out before."""

    @property
    def placed(self) -> Place:
        """Where it counts."""
        return self.place or Place.of(self.caller, (self.price.model, self.model_asked), str(self.month))

    @property
    def entry_id(self) -> UUID:
        """Under which id it is booked."""
        return self.continues or self.id


class Hold(msgspec.Struct, frozen=True, gc=False):
    """What admission set aside for a call, until it is settled or given back."""

    call: Call
    amount_nano_usd: int
    limit_headers: dict[str, str] = msgspec.field(default_factory=dict)
    output_tokens: int = 0
    """How many output tokens it covers."""


class Outcome(msgspec.Struct, frozen=True, gc=False):
    """What upstream served, as far as we know it."""

    usage: Usage
    model_answered: str | None = None
    estimated_reason: str | None = None
    attempts: int = 1


class Settlement(msgspec.Struct, frozen=True, gc=False):
    """How a call was charged: what grants paid for, and the exact cost of the rest in USD."""

    granted: Usage = NOTHING
    cost_usd: Decimal = Decimal(0)
    charged_nano_usd: int = 0
    """What the counters of caps were moved by: the cost, rounded up."""
    absorbed: Usage = NOTHING
    """What upstream served beyond what the caps had room for: ours, never charged."""
    cost_is_known: bool = True
    """Not while Redis is away: what grants pay is decided when it is told of the call."""
