"""Credit notes that come after a month's shares: what they take back, the way it came. Pure.

Units: exact fractions of a USD; what is taken back is negative. Conventions: a finished statement never changes (design.md
sections 5.5 and 5.8). A credit note on an invoice of an earlier month takes back, in the next month that is closed, the same part of
the pools that the invoice put up as it takes of the revenue that they were made from, from the same partners in the same
fractions: a partner that has withdrawn since does not keep it, and a new one does not pay for it. What the house had kept of
such a pool comes off the house's part. A credit note that exceeds the revenue cannot be (its sum never passes the invoice).
Errors: `ValueError` for a credit above what its pools were made from.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction


@dataclass(frozen=True, slots=True)
class Credit:
    """What a credit note gives back to a payer for one model, without tax: a positive exact amount in USD."""

    credit_note: str
    """Its number."""
    payer_id: str
    month: str
    """Month of the invoice."""
    model: str
    usd: Fraction


@dataclass(frozen=True, slots=True)
class StoodPool:
    """A pool of an earlier month as it stands: made from `net`, split among `parts` as fractions that sum to 1 (none: the house)."""

    payer: int
    payer_id: str
    model: str
    net: Decimal
    exact: Fraction
    parts: tuple[tuple[str, Fraction], ...]


@dataclass(frozen=True, slots=True, order=True)
class TakenBack:
    """What one credit note takes back from one partner; from the house where `account_id` is None."""

    month: str
    payer: int
    model: str
    credit_note: str
    holder: str
    exact: Fraction

    @property
    def account_id(self) -> str | None:
        """Whose part it was."""
        return self.holder or None


@dataclass(frozen=True, slots=True)
class StoodMonth:
    """The pools of a finished month; `by_payer` as in `rules.Rule`, of the rule that it was shared by."""

    pools: tuple[StoodPool, ...]
    by_payer: bool


def taken_back(credits: Iterable[Credit], months: Mapping[str, StoodMonth]) -> list[TakenBack]:
    """What credits on finished months take back from each partner; a month without shares has nothing to give."""
    back: list[TakenBack] = []
    for credit in credits:
        month = months.get(credit.month, StoodMonth((), by_payer=False))
        stood = [pool for pool in month.pools if pool.payer_id == credit.payer_id]
        scope = stood if month.by_payer else [pool for pool in stood if pool.model == credit.model]
        made_from = sum((Fraction(pool.net) for pool in scope), Fraction(0))
        if not scope or made_from == 0:
            continue
        if credit.usd > made_from:
            raise ValueError(f"credit note {credit.credit_note}: more than the revenue that its pools were made from")
        for pool in scope:
            amount = -pool.exact * credit.usd / made_from
            for holder, fraction in pool.parts or (("", Fraction(1)),):
                back.append(
                    TakenBack(credit.month, pool.payer, pool.model, credit.credit_note, holder, amount * fraction)
                )
    return back
