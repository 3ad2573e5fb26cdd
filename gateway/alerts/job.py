"""The alerts' job: looks at all budgets every few seconds, stores the alerts that are due, and delivers those that are due.

Runs in the jobs process; several may run at once (an alert is stored once by its key, and claimed before it is sent). It reads running
totals that the drain keeps anyway, so no call waits for it.
Units: seconds. Bounds: deliveries at once, attempts, the pause between them. Errors: a fault of Postgres is logged once in a row, and
the round is repeated.
"""

from __future__ import annotations

import asyncio
from datetime import timedelta

import msgspec
import structlog

from billing.database import Sessions, StorageError
from gateway.alerts import store
from gateway.alerts.shapes import to_wire_event
from gateway.alerts.tables import BudgetAlert
from gateway.alerts.webhook import NotDelivered, UnsafeUrl, WebhookSender
from gateway.clock import Clock

log = structlog.get_logger("alerts")
_AT_ONCE_MAX = 16
_LEASE_S = 120.0
_PAUSE_FIRST_S, _PAUSE_MAX_S = 5.0, 3600.0


class AlertJob:
    """Looks and delivers, until told to stop."""

    def __init__(
        self, sessions: Sessions, clock: Clock, sender: WebhookSender, *, every_s: float, attempts_max: int
    ) -> None:
        self._sessions = sessions
        self._clock = clock
        self._sender = sender
        self._every_s = every_s
        self._attempts_max = attempts_max
        self._failing = False

    async def run(self, stopping: asyncio.Event) -> None:
        while not stopping.is_set():
            try:
                await self.look()
                await self.deliver()
                self._failing = False
            except (StorageError, OSError, TimeoutError) as error:
                if not self._failing:
                    log.warning("alerts_fault", kind=type(error).__name__)
                self._failing = True
            try:
                async with asyncio.timeout(self._every_s):
                    await stopping.wait()
            except TimeoutError:
                continue
        await self._sender.close()

    async def look(self) -> int:
        """Store what the budgets of all accounts call for; returns how many alerts are new."""
        raised, after = 0, ""
        while True:
            now = self._clock.now()
            async with self._sessions.begin() as session:
                budgets, next_after = await store.budgets_of_page(session, after, now)
                raised += await store.raise_alerts(session, budgets, now)
            if next_after is None:
                return raised
            after = next_after

    async def deliver(self) -> int:
        """Send what is due; returns how many arrived."""
        async with self._sessions.begin() as session:
            due = await store.claim_due(session, self._clock.now(), _LEASE_S, _AT_ONCE_MAX)
        arrived = await asyncio.gather(*[self._deliver_one(*one) for one in due])
        return sum(arrived)

    async def _deliver_one(self, alert: BudgetAlert, url: str | None, secret: str | None) -> bool:
        if url is None or secret is None:
            async with self._sessions.begin() as session:
                await store.mark(session, alert.id)
            return False
        body = msgspec.json.encode(to_wire_event(alert))
        try:
            await self._sender.send(url, secret, alert.id, body, int(self._clock.now().timestamp()))
        except (NotDelivered, UnsafeUrl) as error:
            # What went wrong is told by kind, and without the address: it may hold what only its owner should know.
            log.warning("alert_not_delivered", alert=alert.id, attempts=alert.attempts, why=str(error))
            await self._failed(alert)
            return False
        async with self._sessions.begin() as session:
            await store.mark(session, alert.id, delivered_at=self._clock.now())
        return True

    async def _failed(self, alert: BudgetAlert) -> None:
        now = self._clock.now()
        pause_s = min(_PAUSE_MAX_S, _PAUSE_FIRST_S * 2 ** (alert.attempts - 1))
        async with self._sessions.begin() as session:
            if alert.attempts >= self._attempts_max:
                await store.mark(session, alert.id, given_up_at=now)
            else:
                await store.mark(session, alert.id, next_attempt_at=now + timedelta(seconds=pause_s))
