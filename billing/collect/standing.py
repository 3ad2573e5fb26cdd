"""The rule that gives an account its standing by what it paid. Pure.

    good       nothing is owed that should have been paid
    grace      something is owed since less than the grace: the account goes on, and is told
    suspended  longer than that: its keys are refused until it is paid

What is known of an invoice or a dispute only grows (paid and void are final, a failure keeps its first instant), so that the order in
which events come, and how often, makes no difference. An operator's word stands above the rule: it acts only when a standing changes,
so an account that an operator let go on is not suspended again for the same debt, and one that an operator suspended is not restored.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple

_RANK = {"open": 0, "uncollectible": 1, "paid": 2, "void": 2}
_DISPUTE_RANK = {"open": 0, "won": 1, "lost": 1}
OWED = ("open", "uncollectible")
DISPUTED = ("open", "lost")


class Paid(NamedTuple):
    """What is known of an invoice."""

    status: str
    unpaid_since: datetime | None = None
    why: str | None = None


class Debt(NamedTuple):
    """Something that should have been paid, since when, and why we think so."""

    since: datetime
    why: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """What an account's debts come to."""

    owes_since: datetime | None
    why: str | None
    is_suspended: bool


class Change(NamedTuple):
    """What is to be written: the account's new status (None: as it is), since when it is suspended, and whether that was our doing."""

    status: str | None
    suspended_at: datetime | None
    is_ours: bool


def merged(before: Paid | None, now: Paid) -> Paid:
    """What two things that were said of an invoice come to, whichever was said first."""
    if before is None:
        return now
    status = max(before.status, now.status, key=lambda status: (_RANK[status], status))
    said = [one for one in (before, now) if one.unpaid_since is not None]
    first = min(said, key=lambda one: (one.unpaid_since, one.why), default=Paid(status))
    return Paid(status, first.unpaid_since, first.why)


def merged_dispute(before: str | None, now: str) -> str:
    """The same of a dispute."""
    return now if before is None else max(before, now, key=lambda status: (_DISPUTE_RANK[status], status))


def verdict_of(debts: Iterable[Debt], now: datetime, grace: timedelta) -> Verdict:
    """The oldest debt decides."""
    oldest = min(debts, default=None)
    if oldest is None:
        return Verdict(None, None, is_suspended=False)
    return Verdict(oldest.since, oldest.why, is_suspended=now >= oldest.since + grace)


def change_of(status: str, suspended_at: datetime | None, is_ours: bool, verdict: Verdict, now: datetime) -> Change:
    """What follows for an account that is `status` now and was suspended by the rule at `suspended_at` (or not)."""
    if verdict.is_suspended and suspended_at is None:
        active = status == "active"
        return Change("suspended" if active else None, now, active)
    if not verdict.is_suspended and suspended_at is not None:
        return Change("active" if is_ours and status == "suspended" else None, None, False)
    return Change(None, suspended_at, is_ours)
