"""Money and the only places where it is rounded.

Units: amounts are `Decimal` in a currency's major unit (dollars, won); counters in Redis are whole nano-USD.
Conventions (design.md section 5.3, 2026-11): the cost of a call is exact and never rounded. Rounding happens here, in
five named places: an invoice line (half up to the minor unit), VAT (cut), a share pool (down), the part of a line's exact USD
that a credit takes back (cut to the pico-dollar; the parts of a whole line sum to it), a counter (up).
Why Decimal: binary fractions cannot hold 0.10; a float once decided a refusal at 0.6619999999999999 (traps.md 49).
Errors: `UnknownCurrency` for a currency without a minor unit here; `Inexact` where 60 digits would not do.
"""

from __future__ import annotations

import decimal
import math
from collections.abc import Iterable, Sequence
from decimal import Decimal
from fractions import Fraction

ZERO = Decimal(0)
NANO_USD_PER_USD = 1_000_000_000
CAP_USD_MAX = Decimal(9_000_000)
"""Redis scripts count in doubles; 9,000,000 USD in nano-USD still is a whole number there (2**53)."""

MINOR_UNIT = {"USD": Decimal("0.01"), "KRW": Decimal("1")}
"""The smallest amount that can be paid. KRW has no minor unit (ISO 4217)."""

CREDIT_UNIT_USD = Decimal("0.000000000001")

_EXACT = decimal.Context(prec=60, traps=[decimal.Inexact, decimal.InvalidOperation, decimal.DivisionByZero])
_ROUND = decimal.Context(prec=60)


class UnknownCurrency(ValueError):
    """A currency that this system does not bill in."""

    def __init__(self, currency: str) -> None:
        super().__init__(f"{currency!r} is not billed here; use one of {', '.join(MINOR_UNIT)}")
        self.currency = currency


def minor_unit(currency: str) -> Decimal:
    """The smallest payable amount of a currency, in its major unit."""
    try:
        return MINOR_UNIT[currency]
    except KeyError:
        raise UnknownCurrency(currency) from None


def multiply(*factors: Decimal | int) -> Decimal:
    """The exact product; raises `decimal.Inexact` rather than drop a digit."""
    product = Decimal(1)
    for factor in factors:
        product = _EXACT.multiply(product, factor)
    return product


def shift(amount: Decimal | int, places: int) -> Decimal:
    """Exactly `amount` × 10^`places`; raises `decimal.Inexact` rather than drop a digit."""
    return _EXACT.scaleb(amount, places)


def add(amounts: Iterable[Decimal]) -> Decimal:
    """The exact sum; raises `decimal.Inexact` rather than drop a digit."""
    total = ZERO
    for amount in amounts:
        total = _EXACT.add(total, amount)
    return total


def subtract(amount: Decimal, less: Decimal) -> Decimal:
    """The exact difference; raises `decimal.Inexact` rather than drop a digit."""
    return _EXACT.subtract(amount, less)


def round_line(exact: Decimal, currency: str) -> Decimal:
    """An invoice line: half up to the minor unit (away from zero on a tie)."""
    return exact.quantize(minor_unit(currency), rounding=decimal.ROUND_HALF_UP, context=_ROUND)


def cut_tax(exact: Decimal, currency: str) -> Decimal:
    """VAT: what lies below the minor unit is cut off, in the customer's favour."""
    return exact.quantize(minor_unit(currency), rounding=decimal.ROUND_DOWN, context=_ROUND)


def floor_pool(exact: Decimal, currency: str) -> Decimal:
    """A share pool: down to the minor unit, so that more is never shared out than came in."""
    return exact.quantize(minor_unit(currency), rounding=decimal.ROUND_FLOOR, context=_ROUND)


def cut_credit(exact_usd: Fraction) -> Decimal:
    """What part of a line's exact USD a credit takes back so far: towards zero, to the pico-dollar, for it may be no decimal."""
    return multiply(math.trunc(exact_usd / Fraction(CREDIT_UNIT_USD)), CREDIT_UNIT_USD)


def nano_usd_up(usd: Decimal) -> int:
    """A counter in Redis: whole nano-USD, rounded up, for caps alone."""
    return int(_ROUND.multiply(usd, NANO_USD_PER_USD).to_integral_value(rounding=decimal.ROUND_CEILING, context=_ROUND))


def split_by_largest_remainder(
    total: Decimal, exact_parts: Sequence[tuple[str, Decimal | Fraction]], currency: str
) -> list[Decimal]:
    """Split `total` (in minor units) so that the parts sum to it exactly.

    Takes (tie-break id, exact part) pairs whose exact sum is at least `total` and less than it plus one minor unit per part.
    Each part is cut to the minor unit; the units left go to the largest remainders, ties to the smaller id. Parts may be
    fractions, because a third of a dollar is no decimal and two equal thirds must tie.
    """
    unit = minor_unit(currency)
    exact = [Fraction(part) / Fraction(unit) for _, part in exact_parts]
    floors = [math.floor(part) for part in exact]
    units_left = Fraction(total) / Fraction(unit) - sum(floors)
    if units_left.denominator != 1 or not 0 <= units_left <= len(floors):
        raise ValueError(f"{total} {currency} is not the sum of these parts within one minor unit each")
    order = sorted(range(len(floors)), key=lambda i: (floors[i] - exact[i], exact_parts[i][0]))
    for i in order[: int(units_left)]:
        floors[i] += 1
    return [multiply(floor, unit) for floor in floors]


def to_wire_decimal(amount: Decimal) -> str:
    """A decimal string without exponent and without digits that say nothing, keeping at least the cents: `0.30`, `0.0000123`."""
    text = format(amount.normalize(_ROUND), "f")
    whole, _, fraction = text.partition(".")
    return f"{whole}.{fraction.ljust(2, '0')}"
