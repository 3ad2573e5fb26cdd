"""The caller's own view of its account: models, usage, limits, invoices, revenue shares. Frozen values.

Units: money is Decimal in the `currency` beside it, `*_tokens` are tokens, times carry their zone. Fields the gateway
adds later are in `raw`. Shapes: design.md section 3 (2026-11-24). Raises MalformedAnswerError.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Generic, TypeVar

from ..core import wire
from ..core.wire import Json

_T = TypeVar("_T")


@dataclass(frozen=True)
class Page(Generic[_T]):
    """One page of a list. `next` is what to give as `after` for the page behind it, or None."""

    data: tuple[_T, ...]
    next: str | None
    raw: Json = field(repr=False, compare=False)

    def __iter__(self) -> Iterator[_T]:
        return iter(self.data)

    def __len__(self) -> int:
        return len(self.data)


@dataclass(frozen=True)
class Model:
    id: str
    owned_by: str | None
    raw: Json = field(repr=False, compare=False)


@dataclass(frozen=True)
class UsageRow:
    """`group` is the day, model or key the row is about; None on a total."""

    group: str | None
    calls: int
    input_tokens: int
    cached_input_tokens: int
    output_tokens: int
    pages: int
    estimated_calls: int
    list_cost: Decimal | None
    cost: Decimal | None


@dataclass(frozen=True)
class UsageReport:
    """`complete` is False while some calls may not be counted yet."""

    data: tuple[UsageRow, ...]
    total: UsageRow
    currency: str
    complete: bool
    raw: Json = field(repr=False, compare=False)


@dataclass(frozen=True)
class Limits:
    """None where there is no such limit."""

    requests_per_minute: int | None
    tokens_per_minute: int | None
    concurrency: int | None


@dataclass(frozen=True)
class MonthToDate:
    """What the running month has cost so far; `held` is set aside for calls still under way."""

    cost: Decimal
    held: Decimal | None
    currency: str


@dataclass(frozen=True)
class Account:
    id: str
    name: str
    kind: str
    currency: str
    timezone: str | None
    status: str | None
    billing: str | None
    monthly_cap: Decimal | None
    prepaid_balance: Decimal | None
    limits: Limits
    tier: str | None
    discount: Decimal | None
    grant_tokens_left: int | None
    month_to_date: MonthToDate | None
    raw: Json = field(repr=False, compare=False)


@dataclass(frozen=True)
class InvoiceLine:
    """`exact_amount` is the unrounded sum, `amount` the rounded one that is charged."""

    description: str
    model: str | None
    kind: str | None
    quantity: Decimal
    unit_price: Decimal | None
    discount: Decimal | None
    exact_amount: Decimal | None
    amount: Decimal


@dataclass(frozen=True)
class Invoice:
    id: str
    number: str | None
    account_id: str
    month: str
    status: str
    currency: str
    lines: tuple[InvoiceLine, ...]
    grants_used: int
    subtotal: Decimal
    tax: Decimal
    total: Decimal
    fx_rate: Decimal | None
    issued_at: datetime | None
    raw: Json = field(repr=False, compare=False)


@dataclass(frozen=True)
class Share:
    """What one month's revenue share pays this account."""

    account_id: str
    month: str
    pool: Decimal | None
    weight: Decimal | None
    amount: Decimal
    carried_over: Decimal | None
    currency: str
    rule: str | None
    raw: Json = field(repr=False, compare=False)


def from_wire_page(answer: Json, read: Callable[[Json], _T]) -> Page[_T]:
    return Page(data=wire.each(answer, "data", read), next=wire.optional_text(answer, "next"), raw=answer)


def from_wire_models(answer: Json, _headers: Mapping[str, str]) -> Page[Model]:
    return from_wire_page(answer, lambda row: Model(wire.text(row, "id"), wire.optional_text(row, "owned_by"), row))


def from_wire_usage_report(answer: Json, _headers: Mapping[str, str]) -> UsageReport:
    return UsageReport(
        data=wire.each(answer, "data", from_wire_usage_row),
        total=from_wire_usage_row(wire.as_object(answer.get("total"), "total")),
        currency=wire.text(answer, "currency"),
        complete=answer.get("complete") is True,
        raw=answer,
    )


def from_wire_usage_row(row: Json) -> UsageRow:
    return UsageRow(
        group=wire.optional_text(row, "group"),
        calls=wire.count(row, "calls"),
        input_tokens=wire.count(row, "input_tokens"),
        cached_input_tokens=wire.count(row, "cached_input_tokens"),
        output_tokens=wire.count(row, "output_tokens"),
        pages=wire.count(row, "pages"),
        estimated_calls=wire.count(row, "estimated_calls"),
        list_cost=wire.optional_decimal(row, "list_cost"),
        cost=wire.optional_decimal(row, "cost"),
    )


def from_wire_account(answer: Json, _headers: Mapping[str, str]) -> Account:
    limits = wire.optional_object(answer, "limits") or {}
    month_to_date = wire.optional_object(answer, "month_to_date")
    return Account(
        id=wire.text(answer, "id"),
        name=wire.text(answer, "name"),
        kind=wire.text(answer, "kind"),
        currency=wire.text(answer, "currency"),
        timezone=wire.optional_text(answer, "timezone"),
        status=wire.optional_text(answer, "status"),
        billing=wire.optional_text(answer, "billing"),
        monthly_cap=wire.optional_decimal(answer, "monthly_cap"),
        prepaid_balance=wire.optional_decimal(answer, "prepaid_balance"),
        limits=Limits(
            requests_per_minute=wire.optional_count(limits, "requests_per_minute"),
            tokens_per_minute=wire.optional_count(limits, "tokens_per_minute"),
            concurrency=wire.optional_count(limits, "concurrency"),
        ),
        tier=wire.optional_text(answer, "tier"),
        discount=wire.optional_decimal(answer, "discount"),
        grant_tokens_left=wire.optional_count(answer, "grant_tokens_left"),
        month_to_date=None if month_to_date is None else _from_wire_month_to_date(month_to_date),
        raw=answer,
    )


def _from_wire_month_to_date(month: Json) -> MonthToDate:
    return MonthToDate(
        cost=wire.decimal(month, "cost"),
        held=wire.optional_decimal(month, "held"),
        currency=wire.text(month, "currency"),
    )


def from_wire_invoices(answer: Json, _headers: Mapping[str, str]) -> Page[Invoice]:
    return from_wire_page(answer, _from_wire_invoice)


def _from_wire_invoice(row: Json) -> Invoice:
    return Invoice(
        id=wire.text(row, "id"),
        number=wire.optional_text(row, "number"),
        account_id=wire.text(row, "account_id"),
        month=wire.text(row, "month"),
        status=wire.text(row, "status"),
        currency=wire.text(row, "currency"),
        lines=wire.each(row, "lines", _from_wire_invoice_line),
        grants_used=wire.count(row, "grants_used"),
        subtotal=wire.decimal(row, "subtotal"),
        tax=wire.decimal(row, "tax"),
        total=wire.decimal(row, "total"),
        fx_rate=wire.optional_decimal(row, "fx_rate"),
        issued_at=wire.optional_moment(row, "issued_at"),
        raw=row,
    )


def _from_wire_invoice_line(line: Json) -> InvoiceLine:
    return InvoiceLine(
        description=wire.text(line, "description"),
        model=wire.optional_text(line, "model"),
        kind=wire.optional_text(line, "kind"),
        quantity=wire.decimal(line, "quantity"),
        unit_price=wire.optional_decimal(line, "unit_price"),
        discount=wire.optional_decimal(line, "discount"),
        exact_amount=wire.optional_decimal(line, "exact_amount"),
        amount=wire.decimal(line, "amount"),
    )


def from_wire_shares(answer: Json, _headers: Mapping[str, str]) -> Page[Share]:
    return from_wire_page(answer, _from_wire_share)


def _from_wire_share(row: Json) -> Share:
    return Share(
        account_id=wire.text(row, "account_id"),
        month=wire.text(row, "month"),
        pool=wire.optional_decimal(row, "pool"),
        weight=wire.optional_decimal(row, "weight"),
        amount=wire.decimal(row, "amount"),
        carried_over=wire.optional_decimal(row, "carried_over"),
        currency=wire.text(row, "currency"),
        rule=wire.optional_text(row, "rule"),
        raw=row,
    )
