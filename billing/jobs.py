"""The jobs that speak with Stripe: the outbox finds what finance issued and sends what is due, the inbox works off what Stripe delivered.

They run in the jobs process, until told to stop; several may run at once (a task is claimed before it is sent, an event locked while it
is worked off). What cannot be sent now is tried again ever
later, for as long as Stripe is away; what Stripe refuses is given up after a stated number of refusals, and an operator told.
Units: milliseconds and seconds. Errors: a fault of Postgres is logged once in a row, and the round is repeated.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import structlog

from billing.collect import inbox_store, meter_store, store
from billing.collect.send import Netted, NotYet, Sender, TotalsDiffer
from billing.collect.tables import StripeTask
from billing.database import Sessions, StorageError
from billing.stripe_client import StripeAway, StripeFault, StripeLocked, StripeRefused

log = structlog.get_logger("stripe")
_LEASE_S = 600
NETTED = "nothing to be sent: taken back before"
_JUDGE_EVERY_S, _JUDGED_MAX = 5, 1000
_WAIT_FIRST_S, _WAIT_MAX_S, _DOUBLINGS_MAX = 1, 3600, 12


@dataclass(frozen=True, slots=True)
class Pace:
    """How often is looked, how much at once, and when is given up."""

    every_ms: int = 500
    find_every_s: int = 5
    meter_every_s: int = 300
    at_once_max: int = 8
    refusals_max: int = 5
    from_month: str = ""
    minima: Mapping[str, Decimal] = field(default_factory=dict)
    """By currency: less is issued, and collected together with later invoices."""


class Outbox:
    """Sends what finance issued. `count` is told (what, kind) of each task that was sent, put off or given up."""

    def __init__(
        self,
        sessions: Sessions,
        sender: Sender,
        now: Callable[[], datetime],
        ledger_now: Callable[[], datetime],
        count: Callable[[str, str], None],
        pace: Pace,
    ) -> None:
        self._sessions = sessions
        self._sender = sender
        self._now = now
        self._ledger_now = ledger_now
        self._count = count
        self._pace = pace
        self._failing = False
        self._found_at: datetime | None = None
        self._metered_at: datetime | None = None

    async def run(self, stopping: asyncio.Event) -> None:
        while not stopping.is_set():
            try:
                await self.find()
                busy = await self.send_due() >= self._pace.at_once_max
                self._failing = False
            except (StorageError, OSError, TimeoutError) as error:
                if not self._failing:
                    log.warning("stripe_outbox_fault", kind=type(error).__name__)
                self._failing, busy = True, False
            if not busy:
                await _wait(stopping, self._pace.every_ms)

    async def find(self) -> int:
        """Put into the outbox what is new, now and then; returns how much that is."""
        now, new = self._now(), 0
        if self._found_at is None or now >= self._found_at + timedelta(seconds=self._pace.find_every_s):
            async with self._sessions.begin() as session:
                new += await store.find_issued(session, now, self._pace.from_month, self._pace.minima)
            self._found_at = now
        if self._metered_at is None or now >= self._metered_at + timedelta(seconds=self._pace.meter_every_s):
            async with self._sessions.begin() as session:
                new += await meter_store.tell_usage(session, self._ledger_now(), now)
            self._metered_at = now
        return new

    async def send_due(self) -> int:
        """Work on what is due; returns how many tasks that were."""
        async with self._sessions.begin() as session:
            due = await store.claim_due(session, self._now(), _LEASE_S, self._pace.at_once_max)
        await asyncio.gather(*[self._send_one(task) for task in due])
        return len(due)

    async def _send_one(self, task: StripeTask) -> None:
        try:
            await self._sender.send(task)
            values: dict[str, Any] = {"done_at": self._now(), "next_attempt_at": None, "fault": None}
            what = "sent"
        except store.LostClaim:
            return
        except Netted:
            what, values = "netted", {"done_at": self._now(), "next_attempt_at": None, "fault": NETTED}
        except NotYet as error:
            again_at = self._now() + timedelta(seconds=store.NOT_YET_S)
            what, values = "not_yet", {"next_attempt_at": again_at, "fault": f"{store.WAITS}{error}"}
        except (TotalsDiffer, ArithmeticError, LookupError, ValueError) as error:
            what, values = "given_up", self._given_up(f"{type(error).__name__}: {error}")
        except StripeRefused as error:
            refusals = task.refusals + 1
            if refusals >= self._pace.refusals_max:
                what, values = "given_up", self._given_up(str(error))
            else:
                what, values = "refused", self._later(task, str(error)) | {"refusals": refusals}
        except StripeFault as error:
            what = "locked" if isinstance(error, StripeLocked) else "away"
            wait_s = error.retry_after_s if isinstance(error, StripeAway) else 0
            values = self._later(task, str(error), wait_s)
        if what not in ("sent", "netted", "not_yet"):
            log.warning("stripe_task", what=what, kind=task.kind, subject=task.subject_id, why=values["fault"])
        self._count(what, task.kind)
        async with self._sessions.begin() as session:
            try:
                await store.note(session, task, **values)
                if what in ("sent", "netted"):
                    await store.wake(session, task.account_id, self._now())
            except store.LostClaim:
                log.warning("stripe_task", what="lost_claim", kind=task.kind, subject=task.subject_id, why="too slow")

    def _later(self, task: StripeTask, why: str, at_least_s: int = 0) -> dict[str, Any]:
        """Tried again ever later, up to an hour."""
        doubled = min(_WAIT_MAX_S, _WAIT_FIRST_S * 2 ** min(_DOUBLINGS_MAX, task.faults))
        again_at = self._now() + timedelta(seconds=max(at_least_s, doubled))
        return {"next_attempt_at": again_at, "fault": why, "faults": task.faults + 1}

    def _given_up(self, why: str) -> dict[str, Any]:
        return {"given_up_at": self._now(), "next_attempt_at": None, "fault": why}


class Inbox:
    """Works off what Stripe delivered, and suspends accounts whose grace is over. `tell` is told of each account that changed."""

    def __init__(
        self,
        sessions: Sessions,
        now: Callable[[], datetime],
        tell: Callable[[str, int], Awaitable[None]],
        count: Callable[[str, str], None],
        *,
        every_ms: int = 200,
        grace: timedelta,
    ) -> None:
        self._sessions = sessions
        self._now = now
        self._tell = tell
        self._count = count
        self._every_ms = every_ms
        self._grace = grace
        self._failing = False
        self._judged_at: datetime | None = None

    async def run(self, stopping: asyncio.Event) -> None:
        while not stopping.is_set():
            try:
                await self.work_off()
                await self.judge()
                self._failing = False
            except (StorageError, OSError, TimeoutError) as error:
                if not self._failing:
                    log.warning("stripe_inbox_fault", kind=type(error).__name__)
                self._failing = True
            await _wait(stopping, self._every_ms)

    async def work_off(self) -> int:
        """Work off all that is due, each event in a transaction of its own; returns how many those were."""
        done = 0
        while True:
            async with self._sessions.begin() as session:
                applied = await inbox_store.apply_next(session, self._now(), self._grace)
            if applied is None:
                return done
            done += 1
            self._count("waits" if applied.outcome.startswith("waits") else "applied", applied.type)
            log.info("stripe_event", type=applied.type, outcome=applied.outcome)
            for account_id, epoch in applied.outdated:
                await self._tell(account_id, epoch)

    async def judge(self) -> int:
        """Suspend whose grace is over; looked at every few seconds. Returns how many accounts changed."""
        now = self._now()
        if self._judged_at is not None and now < self._judged_at + timedelta(seconds=_JUDGE_EVERY_S):
            return 0
        self._judged_at = now
        async with self._sessions.begin() as session:
            await inbox_store.forget_old(session, now)
            over = await inbox_store.graces_over(session, now, self._grace, _JUDGED_MAX)
        changed = 0
        for account_id in over:
            async with self._sessions.begin() as session:
                outdated = await inbox_store.judge(session, account_id, now, self._grace)
            for one, epoch in outdated:
                changed += 1
                await self._tell(one, epoch)
        return changed


async def _wait(event: asyncio.Event, ms: int) -> None:
    try:
        async with asyncio.timeout(ms / 1000):
            await event.wait()
    except TimeoutError:
        return
