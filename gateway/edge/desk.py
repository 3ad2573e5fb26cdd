"""What the account and operator routes are handed: the rooms they may ask, and who is asking.

Errors: `OperatorRefused`, `OperatorNotAllowed`, `InvalidApiKey`, `InvalidRequest`.
"""

from __future__ import annotations

import hmac
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, TypeAlias

from litestar import Request
from litestar.connection import ASGIConnection
from litestar.handlers import BaseRouteHandler

from billing.database import Sessions
from billing.exports.accounting import Chart
from billing.stripe_client import Stripe
from gateway.admission.admit import Admission
from gateway.call import Caller
from gateway.clock import Clock
from gateway.edge.wire import secret_of
from gateway.errors import InvalidRequest, OperatorNotAllowed, OperatorRefused
from gateway.keys.address import NO_PROXIES, Address, Proxies
from gateway.keys.identify import Identify
from gateway.keys.prices import PriceTable
from gateway.operators.roles import ADMIN, allows
from gateway.operators.store import living

LIST_MAX = 1000
_ASKS = "solar_operator"
ACTOR = "operator"
"""Whom the audit log names for the one token of the environment."""


@dataclass(frozen=True, slots=True)
class StripeTerms:
    """What the routes know of Stripe."""

    webhook_secret: str = field(default="", repr=False)
    webhook_age_s: int = 300
    webhook_max_bytes: int = 1024 * 1024
    meter_event: str = ""
    open: Callable[[], Stripe] | None = None
    """A client of Stripe's API, to be closed after use; None where there is no key."""

    @property
    def is_on(self) -> bool:
        return self.open is not None


@dataclass(frozen=True, slots=True)
class Desk:
    """The rooms behind the ordinary routes."""

    sessions: Sessions
    clock: Clock
    identify: Identify
    prices: PriceTable
    admission: Admission
    flushed: Callable[..., Awaitable[bool]]
    """Waits, within a bound, until the ledger holds every call (of an account) settled so far; False where it does not yet."""
    unreadable: Callable[[int], Awaitable[list[dict[str, Any]]]]
    """So many of the usage records that could not be read or stored, newest first."""
    fleet: Callable[[], list[dict[str, Any]]]
    """Our keys with upstream, as this worker knows them."""
    grant_months: int
    month_grace_s: int
    ledger_keep_months: int
    retention_years: int
    seller: Mapping[str, Any] = field(default_factory=dict)
    """Who issues invoices, as they say for good."""
    chart: Chart = field(default_factory=Chart)
    proxies: Proxies = NO_PROXIES
    stripe: StripeTerms = field(default_factory=StripeTerms)
    actor: str = ACTOR
    """Which operator asks; the audit log names it."""

    def now(self) -> datetime:
        return self.clock.now()

    async def caller(self, connection: ASGIConnection) -> Caller:  # type: ignore[type-arg]
        """Whose gateway key this request carries."""
        check_address(connection)
        headers, peer = connection.scope["headers"], connection.scope.get("client")

        def whence() -> Address | None:
            return self.proxies.caller_address(peer[0] if peer else None, headers)

        return await self.identify.caller_of(secret_of(headers), whence)


Guard: TypeAlias = Callable[[ASGIConnection, BaseRouteHandler], Awaitable[None]]  # type: ignore[type-arg]


def operators_only(token: str, sessions: Sessions, clock: Clock) -> Guard:
    """A guard: the token of the environment, an admin's, or a named operator's, whose role must allow the route."""

    async def guard(connection: ASGIConnection, _: BaseRouteHandler) -> None:  # type: ignore[type-arg]
        given = secret_of(connection.scope["headers"])
        actor, role = ACTOR, ADMIN
        if not token or not hmac.compare_digest(given.encode(), token.encode()):
            async with sessions() as session:
                known = await living(session, given, clock.now())
            if known is None:
                raise OperatorRefused
            actor, role = known.name, known.role
        if not allows(role, connection.scope["method"], connection.scope["path_template"]):  # type: ignore[typeddict-item]
            raise OperatorNotAllowed(role)
        check_address(connection)
        connection.scope["state"][_ASKS] = actor

    return guard


def desk_of(desk: Desk) -> Callable[[Request[Any, Any, Any]], Desk]:
    """The desk as the operator has it whom the guard let in."""

    def of(request: Request[Any, Any, Any]) -> Desk:
        return replace(desk, actor=request.scope["state"][_ASKS])

    return of


def check_address(connection: ASGIConnection) -> None:  # type: ignore[type-arg]
    """Refuse the one character that no text in Postgres can hold, so that no route need ask for it."""
    if "\x00" in connection.scope["path"] or b"%00" in connection.scope["query_string"]:
        raise InvalidRequest("The address holds a NUL character.")
