"""Shapes that others build on (design.md section 3): requests as typed structs, rows as JSON objects. Conversions only.

Money is a decimal string with its currency beside it; times are RFC 3339 UTC.
"""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from billing.accounts.tables import Account
from billing.club.store import GrantBook
from billing.club.tables import Contribution, TokenGrant
from billing.invoice.parties import PARTY_DETAILS
from billing.ledger.usage import UsageSum
from billing.money import to_wire_decimal
from billing.rate_cards import RateCardRow
from gateway.edge.wire import to_wire_instant
from gateway.keys.tables import ApiKey

Text = Annotated[str, Meta(max_length=10_000, pattern=r"^[^\x00]*$")]
"""Any text but the one character that no text in Postgres can hold."""

Count = Annotated[int, Meta(ge=0, le=10**15)]
"""What Redis, whose numbers are doubles, still counts exactly."""


class ModelLimits(Struct, forbid_unknown_fields=True):
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    concurrency: int | None = None


class Limits(ModelLimits, forbid_unknown_fields=True):
    """Limits of all calls, and beside them those of one model's."""

    models: dict[Text, ModelLimits] | None = None


class Tax(Struct, forbid_unknown_fields=True):
    """Where an account is taxed; what stands below its number is what Korea's tax invoices must name."""

    country: Text | None = None
    registration_number: Text | None = None
    representative: Text | None = None
    address: Text | None = None
    business_type: Text | None = None
    business_item: Text | None = None
    email: Text | None = None


class NewAccount(Struct, forbid_unknown_fields=True):
    name: Text
    kind: Text = "standard"
    currency: Text = "USD"
    timezone: Text = "Asia/Seoul"
    monthly_cap: Text | None = None
    prepaid_balance: Text | None = None
    billing: Text = "invoice"
    limits: Limits | None = None
    tax: Tax | None = None
    owner_group: Text | None = None
    alert_webhook_url: Text | None = None


class AccountChange(Struct, forbid_unknown_fields=True):
    name: Text | UnsetType = UNSET
    status: Text | UnsetType = UNSET
    monthly_cap: Text | UnsetType | None = UNSET
    prepaid_balance: Text | UnsetType = UNSET
    limits: Limits | UnsetType | None = UNSET
    tax: Tax | UnsetType | None = UNSET
    owner_group: Text | UnsetType = UNSET
    alert_webhook_url: Text | UnsetType | None = UNSET


class NewKey(Struct, forbid_unknown_fields=True):
    name: Text
    limits: Limits | None = None
    monthly_cap: Text | None = None
    expires_at: datetime | None = None
    scopes: dict[Text, list[Text]] | None = None


class KeyChange(Struct, forbid_unknown_fields=True):
    name: Text | UnsetType = UNSET
    limits: Limits | UnsetType | None = UNSET
    monthly_cap: Text | UnsetType | None = UNSET
    expires_at: datetime | UnsetType | None = UNSET
    scopes: dict[Text, list[Text]] | UnsetType | None = UNSET


class Rotation(Struct, forbid_unknown_fields=True):
    overlap_s: int = 0


class NewContribution(Struct, forbid_unknown_fields=True):
    """Accepted text; or, linked to an earlier one, what it is corrected to (what is left out stays) or that it is withdrawn."""

    dataset: Text | None = None
    words: Count | None = None
    tokens: Count | None = None
    quality: Text | None = None
    accepted_at: datetime | None = None
    note: Text | None = None
    corrects: Text | None = None
    withdraws: Text | None = None


class PagePrices(Struct, forbid_unknown_fields=True):
    standard: Text | UnsetType = UNSET
    enhanced: Text | UnsetType = UNSET


class BuyPrices(Struct, forbid_unknown_fields=True):
    """What upstream takes: its own list price."""

    input: Text | UnsetType = UNSET
    cached_input: Text | UnsetType = UNSET
    output: Text | UnsetType = UNSET
    page: PagePrices | UnsetType = UNSET


class ModelPrices(Struct, forbid_unknown_fields=True):
    input: Text | UnsetType = UNSET
    cached_input: Text | UnsetType = UNSET
    output: Text | UnsetType = UNSET
    page: PagePrices | UnsetType = UNSET
    aliases: list[Text] | UnsetType = UNSET
    buy: BuyPrices | UnsetType = UNSET


class NewRateCard(Struct, forbid_unknown_fields=True):
    effective_at: datetime
    models: dict[Text, ModelPrices]
    account_id: Text | None = None
    club_discount: bool | UnsetType = UNSET


class NewFxRate(Struct, forbid_unknown_fields=True):
    date: Text
    pair: Text
    rate: Text


class NewSharePlan(Struct, forbid_unknown_fields=True):
    effective_month: Text
    pool_rate: Text
    rule: Text = "pro_rata"
    minimum_payout: Text = "0.00"
    payer_cap: Text | None = None


class NewManifest(Struct, forbid_unknown_fields=True):
    model: Text
    datasets: list[Text]


class CloseOrder(Struct, forbid_unknown_fields=True):
    draft: bool = False


def columns_of_limits(limits: Limits | None) -> dict[str, Any]:
    limits = limits or Limits()
    models = {model: msgspec.structs.asdict(own) for model, own in (limits.models or {}).items()}
    return {name: getattr(limits, name) for name in ModelLimits.__struct_fields__} | {"model_limits": models}


def to_wire_account(row: Account) -> dict[str, Any]:
    tax = {
        "country": row.tax_country,
        "registration_number": row.tax_registration_number,
        **(row.tax_details or {}),
    }
    return {
        "id": row.id,
        "name": row.name,
        "kind": row.kind,
        "currency": row.currency,
        "timezone": row.timezone,
        "status": row.status,
        "monthly_cap": _money(row.monthly_cap),
        "prepaid_balance": _money(row.prepaid_balance),
        "billing": row.billing,
        "limits": _limits(row),
        "tax": tax if any(tax.values()) else None,
        "owner_group": row.owner_group,
        "alert_webhook_url": row.alert_webhook_url,
        "created_at": to_wire_instant(row.created_at),
    }


def to_wire_key(row: ApiKey, secret: str | None = None) -> dict[str, Any]:
    shape = {
        "id": row.id,
        "account_id": row.account_id,
        "name": row.name,
        "prefix": row.prefix,
        "limits": _limits(row),
        "monthly_cap": _money(row.monthly_cap),
        "scopes": row.scopes or None,
        "rotated_from": row.rotated_from,
        "created_at": to_wire_instant(row.created_at),
        "expires_at": to_wire_instant(row.expires_at),
        "revoked_at": to_wire_instant(row.revoked_at),
    }
    return shape if secret is None else {**shape, "secret": secret}


def to_wire_contribution(row: Contribution, grant: TokenGrant | None = None) -> dict[str, Any]:
    shape = {
        "id": row.id,
        "account_id": row.account_id,
        "dataset": row.dataset,
        "words": row.words,
        "tokens": row.tokens,
        "quality": f"{row.quality:f}",
        "accepted_at": to_wire_instant(row.accepted_at),
        "note": row.note,
        "corrects": row.corrects,
        "withdraws": row.withdraws,
    }
    if grant is not None:
        shape["grant"] = {
            "id": grant.id,
            "tokens": grant.tokens,
            "from": to_wire_instant(grant.from_at),
            "until": to_wire_instant(grant.until_at),
        }
    return shape


def to_wire_grant(book: GrantBook) -> dict[str, Any]:
    """A grant and what became of its tokens: granted = used + expired + ended + left."""
    grant = book.grant
    return {
        "id": grant.id,
        "contribution_id": grant.contribution_id,
        "granted": grant.tokens,
        "used": book.used,
        "expired": book.expired,
        "ended": book.ended,
        "left": book.left,
        "from": to_wire_instant(grant.from_at),
        "until": to_wire_instant(grant.until_at),
        "ended_at": to_wire_instant(grant.ended_at),
    }


def columns_of_tax(tax: Tax | None) -> dict[str, Any]:
    """An account's tax columns; nothing known without a tax object."""
    given = tax or Tax()
    details = {name: getattr(given, name) for name in PARTY_DETAILS if getattr(given, name) is not None}
    return {
        "tax_country": given.country,
        "tax_registration_number": given.registration_number,
        "tax_details": details or None,
    }


def to_wire_rate_card(row: RateCardRow) -> dict[str, Any]:
    return {
        "id": row.id,
        "effective_at": to_wire_instant(row.effective_at),
        "account_id": row.account_id,
        "club_discount": row.club_discount,
        "models": row.models,
    }


def to_wire_usage(total: UsageSum) -> dict[str, Any]:
    return {
        "group": total.group,
        "calls": total.calls,
        "input_tokens": total.input_tokens,
        "cached_input_tokens": total.cached_input_tokens,
        "output_tokens": total.output_tokens,
        "pages": total.pages,
        "estimated_calls": total.estimated_calls,
        "list_cost": to_wire_decimal(total.list_cost),
        "cost": to_wire_decimal(total.cost),
    }


def to_wire_house_usage(total: UsageSum) -> dict[str, Any]:
    """Usage as only the house sees it: with what upstream takes. The margin is null where some call's buy price is not known."""
    margin = total.margin
    return {
        **to_wire_usage(total),
        "buy_cost": to_wire_decimal(total.buy_cost),
        "absorbed_buy_cost": to_wire_decimal(total.absorbed_buy_cost),
        "calls_without_buy_price": total.calls_without_buy_price,
        "margin": None if margin is None else to_wire_decimal(margin),
    }


def to_wire_page(data: list[dict[str, Any]], limit: int) -> dict[str, Any]:
    """A list of whole shapes; `next` is the id after which the next page begins, or null."""
    full = len(data) > limit
    data = data[:limit]
    return {"data": data, "next": data[-1]["id"] if full else None}


def _money(amount: Decimal | None) -> str | None:
    return None if amount is None else to_wire_decimal(amount)


def _limits(row: Account | ApiKey) -> dict[str, Any]:
    limits: dict[str, Any] = {name: getattr(row, name) for name in ModelLimits.__struct_fields__}
    return {**limits, "models": row.model_limits} if row.model_limits else limits
