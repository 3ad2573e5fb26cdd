"""Do Stripe and we agree on a month? Per customer: invoices, lines, totals, credit notes, states, metered usage, payouts. Pure.

Units: whole minor units, nano-USD for metered usage. What differs is named, with both sides; an empty list is the proof that nothing does.

    doubled   two of one thing at Stripe, or two customers of one account
    missing   ours is not there (its task says why, where it still waits or was given up)
    uncollected  ours was issued and not sent yet: under the minimum of collection, or too new
    unknown   it bears our mark, and nothing of ours stands behind it
    total, line, credit, state, usage, transfer   both are there, and differ
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

_STATES = {"issued": ("open", "uncollectible"), "paid": ("paid",), "void": ("void",)}


@dataclass(frozen=True, slots=True)
class Finding:
    """One difference. `ours` and `theirs` as text, so that it can be shown as it is."""

    kind: str
    account_id: str
    what: str
    ours: str
    theirs: str


@dataclass(frozen=True, slots=True)
class Bill:
    """An invoice as one side has it: what it comes to, line by line, and what was credited of it, note by note."""

    account_id: str
    number: str
    currency: str
    total: int
    state: str
    lines: Mapping[str, int] = field(default_factory=dict)
    credits: Mapping[str, int] = field(default_factory=dict)
    note: str = ""
    """Of ours: why it is not there, where it is known."""
    is_sent: bool = True
    """Of ours: it is in the outbox, or was."""


@dataclass(frozen=True, slots=True)
class Agreement:
    """What was compared, and what differs."""

    month: str
    invoices: int
    customers: int
    total: Mapping[str, int]
    """Minor units by currency, as both sides have it where nothing differs."""
    findings: Sequence[Finding]


def compare_bills(ours: Mapping[str, Bill], theirs: Iterable[tuple[str, Bill]]) -> list[Finding]:
    """Our invoices of a month against those at Stripe that bear our mark, both by our id."""
    found: list[Finding] = []
    there: dict[str, Bill] = {}
    listed = list(theirs)
    for name, count in sorted(Counter(name for name, _ in listed).items()):
        if count > 1:
            bill = dict(listed)[name]
            found.append(Finding("doubled", bill.account_id, f"invoice {bill.number}", "1", str(count)))
    there = dict(listed)
    for name, bill in sorted(there.items()):
        if name not in ours:
            found.append(Finding("unknown", bill.account_id, f"invoice {bill.number}", "", str(bill.total)))
    for name, bill in sorted(ours.items()):
        if name not in there:
            kind = "missing" if bill.is_sent else "uncollected"
            found.append(Finding(kind, bill.account_id, f"invoice {bill.number}", str(bill.total), bill.note))
        else:
            found += _differences(bill, there[name])
    return found


def _differences(ours: Bill, theirs: Bill) -> list[Finding]:
    what = f"invoice {ours.number}"

    def finding(kind: str, which: str, mine: object, other: object) -> Finding:
        return Finding(kind, ours.account_id, f"{what}{which}", str(mine), str(other))

    found = []
    if (ours.total, ours.currency) != (theirs.total, theirs.currency):
        mine, other = f"{ours.total} {ours.currency}", f"{theirs.total} {theirs.currency}"
        found.append(finding("total", "", mine, other))
    for kind, mine_of, other_of in (("line", ours.lines, theirs.lines), ("credit", ours.credits, theirs.credits)):
        for name in sorted(mine_of.keys() | other_of.keys()):
            if mine_of.get(name) != other_of.get(name):
                found.append(finding(kind, f" {kind} {name}", mine_of.get(name, ""), other_of.get(name, "")))
    is_settled = theirs.state == "paid" and ours.state == "issued" and sum(ours.credits.values()) >= ours.total
    if theirs.state not in _STATES.get(ours.state, ()) and not is_settled:
        found.append(finding("state", " state", ours.state, theirs.state))
    return found


def compare_sums(kind: str, what: str, ours: Mapping[str, int], theirs: Mapping[str, int]) -> list[Finding]:
    """Sums by account: metered usage, payouts."""
    return [
        Finding(kind, account_id, what, str(ours.get(account_id, 0)), str(theirs.get(account_id, 0)))
        for account_id in sorted(ours.keys() | theirs.keys())
        if ours.get(account_id, 0) != theirs.get(account_id, 0)
    ]


def doubled_customers(marks: Iterable[tuple[str, str]]) -> list[Finding]:
    """(account, customer) pairs: an account is one customer."""
    names: dict[str, set[str]] = {}
    for account_id, customer in marks:
        names.setdefault(account_id, set()).add(customer)
    return [
        Finding("doubled", account_id, "customer", "1", ", ".join(sorted(customers)))
        for account_id, customers in sorted(names.items())
        if len(customers) > 1
    ]
