"""A month that is past, under another card or another discount: line by line, what would have changed. Pure.

Units: as in `billing.rating.rate`; amounts exact USD, never rounded. What grants paid for stays paid for; the counts are the ledger's.
A card that does not name a model leaves its price as it was. The instant of the card does not matter: the whole month is rated
under it. A discount given takes the place of every line's own; a card that takes no club discount sets it to nothing.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal

from billing.money import ZERO, add, subtract
from billing.prices import RateCard
from billing.rating.rate import KINDS, Booked, exact_usd


@dataclass(frozen=True, slots=True)
class Terms:
    """What a quantity is priced by."""

    card_id: str
    unit_price: Decimal
    discount: Decimal


@dataclass(frozen=True, slots=True)
class Difference:
    """One line as it was rated, and as it would have been."""

    billing_month: str
    model: str
    kind: str
    quantity: int
    before: Terms
    after: Terms
    before_usd: Decimal
    after_usd: Decimal

    @property
    def difference_usd(self) -> Decimal:
        return subtract(self.after_usd, self.before_usd)


def adjust(
    booked: Iterable[Booked], *, card: RateCard | None = None, discount: Decimal | None = None
) -> list[Difference]:
    """Every line that is paid for, before and after, in the order of an invoice; the order of `booked` does not matter."""
    quantities: dict[tuple[str, str, str, Terms], int] = defaultdict(int)
    for group in booked:
        terms = Terms(group.card_id, group.unit_price, group.discount)
        quantities[group.billing_month, group.model, group.kind, terms] += group.used - group.granted
    lines = [
        _difference(month, model, kind, quantity, terms, _after(model, kind, terms, card, discount))
        for (month, model, kind, terms), quantity in quantities.items()
        if quantity
    ]
    return sorted(lines, key=_place)


def total(differences: Sequence[Difference]) -> tuple[Decimal, Decimal, Decimal]:
    """(before, after, difference) of them all, exact USD."""
    before, after = add(one.before_usd for one in differences), add(one.after_usd for one in differences)
    return before, after, subtract(after, before)


def _after(model: str, kind: str, terms: Terms, card: RateCard | None, discount: Decimal | None) -> Terms:
    card_id, unit_price, off = terms.card_id, terms.unit_price, terms.discount
    named = None if card is None else card.find(model)
    if card is not None and named is not None:
        card_id, unit_price = card.id, card.models[named].of(kind)
        off = off if card.club_discount else ZERO
    return Terms(card_id, unit_price, off if discount is None else discount)


def _difference(month: str, model: str, kind: str, quantity: int, before: Terms, after: Terms) -> Difference:
    def usd(terms: Terms) -> Decimal:
        return exact_usd(quantity, kind, terms.unit_price, terms.discount)

    return Difference(month, model, kind, quantity, before, after, usd(before), usd(after))


def _place(line: Difference) -> tuple[str, str, int, str, Decimal, Decimal]:
    before = line.before
    kind = KINDS.index(line.kind)
    return line.billing_month, line.model, kind, before.card_id, before.unit_price, before.discount
