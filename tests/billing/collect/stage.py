"""What the tests of the outbox stand on: a fake Stripe, the outbox before it, and a clock that both go by and a test moves."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from sqlmodel import col, func, select

from billing.accounts.store import get as get_account
from billing.collect import inbox_store
from billing.collect.send import Sender
from billing.collect.tables import StripeTask
from billing.database import Sessions
from billing.invoice.credit import Asked
from billing.invoice.issue import credit
from billing.invoice.read import IssuedInvoice, page_invoices
from billing.jobs import Inbox, Outbox, Pace
from billing.stripe_client import Stripe
from tests.billing.months import ACTOR, account, book, call, close
from tests.fakes.stripe import API_KEY, FakeStripe

METER = "solar_cost_nano_usd"
GRACE = timedelta(days=14)
_ROUNDS_MAX = 400


class Stage:
    """One outbox and one fake Stripe."""

    def __init__(self, sessions: Sessions, fake: FakeStripe, *, timeout_ms: int = 150) -> None:
        self.sessions = sessions
        self.fake = fake
        self.offset = timedelta()
        self.counted: Counter[tuple[str, str]] = Counter()
        self.stripe = Stripe(API_KEY, base_url=fake.url, timeout_ms=timeout_ms, attempts=2, pause_max_s=0)
        self.outbox = self.new_outbox()
        self.told: list[tuple[str, int]] = []
        self.inbox = Inbox(sessions, self.now, self._tell, self._count, grace=GRACE)

    async def _tell(self, account_id: str, epoch: int) -> None:
        self.told.append((account_id, epoch))

    def _count(self, what: str, kind: str) -> None:
        self.counted[what, kind] += 1

    def now(self) -> datetime:
        return datetime.now(UTC) + self.offset

    def wait(self, seconds: int) -> None:
        """So much time goes by, here and at Stripe."""
        self.offset += timedelta(seconds=seconds)
        self.fake.books.clock_offset_s += seconds

    def new_outbox(self, **pace: Any) -> Outbox:
        sender = Sender(
            self.stripe,
            self.sessions,
            self.now,
            days_until_due=30,
            return_url="https://example.com/paid",
            meter_event_name=METER,
        )
        return Outbox(self.sessions, sender, self.now, self.now, self._count, Pace(**{"find_every_s": 0, **pace}))

    async def settle(self) -> None:
        """Work until nothing waits any more, letting time go by to when the next task is due."""
        for _ in range(_ROUNDS_MAX):
            await self.outbox.find()
            await self.outbox.send_due()
            async with self.sessions() as session:
                due = (await session.execute(select(func.min(col(StripeTask.next_attempt_at))))).scalar_one()
            if due is None:
                if await self.outbox.find() == 0:
                    return
                continue
            self.wait(max(0, int((due - self.now()).total_seconds()) + 1) if due > self.now() else 0)
        raise AssertionError(f"something still waits after {_ROUNDS_MAX} rounds: {await self.tasks()}")

    async def tasks(self) -> list[tuple[str, str, str | None]]:
        """(kind, how it stands, why) of all tasks."""
        async with self.sessions() as session:
            rows = (await session.execute(select(StripeTask).order_by(col(StripeTask.created_at)))).scalars()
            return [
                (row.kind, "done" if row.done_at else "given up" if row.given_up_at else "waits", row.fault)
                for row in rows
            ]

    # ---- what Stripe does ----------------------------------------------------------------------------------------------------

    async def deliver(self, *events: dict[str, Any]) -> list[bool]:
        """Store deliveries as they come in, and work off what is there; says which were new."""
        new = []
        for event in events:
            async with self.sessions.begin() as session:
                new.append(await inbox_store.keep(session, event, self.now()))
        await self.inbox.work_off()
        return new

    async def status(self, account_id: str) -> str:
        async with self.sessions() as session:
            return (await get_account(session, account_id)).status

    # ---- what finance does ---------------------------------------------------------------------------------------------------

    async def invoiced(self, *, calls: int = 2, **fields: Any) -> IssuedInvoice:
        """A new account's October, closed."""
        payer = await account(
            self.sessions, **{"tax_country": "KR", "tax_details": {"email": "a@example.com"}, **fields}
        )
        models = ("solar-pro4", "solar-mini", "syn-pro")
        usage = (1_234_567, 7_654, 987_654, 0, 0)
        await book(self.sessions, *[call(payer, usage, model=models[i % 3]) for i in range(calls)])
        await close(self.sessions)
        return await self.invoice_of(payer)

    async def invoice_of(self, account_id: str) -> IssuedInvoice:
        async with self.sessions() as session:
            [found], _ = await page_invoices(session, account_id=account_id)
        return found

    async def credited(self, invoice: IssuedInvoice, amount: str, line: int = 0) -> str:
        """A credit note's id."""
        async with self.sessions.begin() as session:
            asked = [Asked(line, Decimal(amount))]
            return (await credit(session, invoice.invoice.id, "as agreed", asked, ACTOR, self.now())).note.id

    def at_stripe(self, invoice: IssuedInvoice) -> dict[str, Any]:
        """The one invoice of ours at Stripe."""
        found = [
            one for one in self.fake.books.all("invoice") if one["metadata"].get("solar_invoice") == invoice.invoice.id
        ]
        assert len(found) == 1, f"{len(found)} invoices at Stripe for {invoice.invoice.number}"
        return found[0]
