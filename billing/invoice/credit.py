"""What a credit note comes to. Pure.

Units: amounts without tax in the invoice's currency, whole minor units; `exact_usd` exact USD of revenue that is taken back.
Tax and exact USD are reckoned on all that has been credited so far, less what earlier notes took: rounded note by note they
would drift, and the last cent would pass the invoice (traps.md 50). So a line that is credited whole, in however many notes,
gives back exactly its exact USD, and an invoice that is credited whole exactly its tax.

    CreditRefused            nothing was written
    ├── NoSuchLine           the invoice has no line at that position, or it is named twice
    ├── WrongAmount          not above zero, or not in whole minor units
    └── CreditExceeds        more than what is left of the line, or of the invoice
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import NamedTuple, Protocol

from billing.invoice.tax import tax_on
from billing.money import ZERO, add, cut_credit, minor_unit, subtract, to_wire_decimal


class CreditRefused(ValueError):
    """This credit note cannot be."""

    code = "invalid_request"

    def __init__(self, message: str, line: int | None = None) -> None:
        super().__init__(message)
        self.line = line


class NoSuchLine(CreditRefused):
    """A line that is not there."""


class WrongAmount(CreditRefused):
    """An amount that cannot be credited."""


class CreditExceeds(CreditRefused):
    """More than the invoice, or one of its lines, came to."""

    code = "credit_exceeds_invoice"


class CreditableInvoice(Protocol):
    """An issued invoice."""

    @property
    def currency(self) -> str: ...
    @property
    def subtotal(self) -> Decimal: ...
    @property
    def tax_reason(self) -> str | None: ...
    @property
    def tax_country(self) -> str | None: ...


class CreditableLine(Protocol):
    """A line of it."""

    @property
    def position(self) -> int: ...
    @property
    def model(self) -> str: ...
    @property
    def amount(self) -> Decimal: ...
    @property
    def exact_usd(self) -> Decimal: ...


class Before(NamedTuple):
    """What earlier notes took back, of one line or of the whole invoice."""

    amount: Decimal = ZERO
    exact_usd: Decimal = ZERO


class Asked(NamedTuple):
    """What is to be taken back of one line."""

    line: int
    amount: Decimal


@dataclass(frozen=True, slots=True)
class CreditLine:
    """One line of a credit note."""

    line: int
    model: str
    amount: Decimal
    exact_usd: Decimal


@dataclass(frozen=True, slots=True)
class CreditDraft:
    """A credit note before it has a number."""

    lines: tuple[CreditLine, ...]
    subtotal: Decimal
    tax: Decimal
    total: Decimal


def draft_credit(
    invoice: CreditableInvoice,
    lines: Sequence[CreditableLine],
    before: Mapping[int, Before],
    tax_before: Decimal,
    asked: Sequence[Asked],
) -> CreditDraft:
    """The credit note of an invoice, given what earlier ones took back by line and as tax. Raises `CreditRefused`."""
    if not asked:
        raise WrongAmount("lines: name at least one line")
    standing = {line.position: line for line in lines}
    if len({one.line for one in asked}) < len(asked):
        raise NoSuchLine("lines: each line can be named once")
    credited = tuple(_line(invoice, standing, before, one) for one in asked)
    subtotal = add(line.amount for line in credited)
    so_far = add([*(one.amount for one in before.values()), subtotal])
    if so_far > invoice.subtotal:
        left = subtract(invoice.subtotal, subtract(so_far, subtotal))
        raise CreditExceeds(
            f"lines: {_shown(subtotal, invoice)} is more than the {_shown(left, invoice)} left of the invoice"
        )
    tax = subtract(tax_on(so_far, invoice.currency, invoice.tax_country).amount, tax_before)
    return CreditDraft(credited, subtotal, tax, add([subtotal, tax]))


def _line(
    invoice: CreditableInvoice, standing: Mapping[int, CreditableLine], before: Mapping[int, Before], asked: Asked
) -> CreditLine:
    line = standing.get(asked.line)
    where = f"lines[{asked.line}]"
    if line is None:
        raise NoSuchLine(
            f"{where}: the invoice has no such line; its lines count from 0 to {len(standing) - 1}", asked.line
        )
    unit = minor_unit(invoice.currency)
    if asked.amount <= 0 or asked.amount % unit:
        raise WrongAmount(
            f"{where}.amount: must be above zero, in whole units of {to_wire_decimal(unit)} {invoice.currency}",
            asked.line,
        )
    taken = before.get(asked.line, Before())
    so_far = add([taken.amount, asked.amount])
    if so_far > line.amount:
        left = max(ZERO, subtract(line.amount, taken.amount))
        raise CreditExceeds(
            f"{where}.amount: {_shown(asked.amount, invoice)} is more than the {_shown(left, invoice)} left of the line",
            asked.line,
        )
    usd = subtract(_usd_of(line, so_far), taken.exact_usd)
    return CreditLine(line.position, line.model, asked.amount, usd)


def _usd_of(line: CreditableLine, so_far: Decimal) -> Decimal:
    if so_far == line.amount:
        return line.exact_usd
    return cut_credit(Fraction(line.exact_usd) * Fraction(so_far) / Fraction(line.amount))


def _shown(amount: Decimal, invoice: CreditableInvoice) -> str:
    return f"{to_wire_decimal(amount)} {invoice.currency}"
