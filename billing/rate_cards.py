"""Rate cards in Postgres: prices that hold from an instant on.

Conversions: `from_wire_models` (the contract's JSON) and `from_row_card`. Prices are decimal strings on the wire and in the row.
Errors: `RateCardInUse` where a backdated card would reprice calls that stand in the ledger; `RateCardOverlaps` where another card of
the same account and instant prices the same model; `ValueError` for a malformed card.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import Field, SQLModel, col, select

from billing.database import DOCUMENT, INSTANT
from billing.ids import new_id
from billing.prices import ModelPrice, RateCard, find_card, newest_first

_CARDS_LOCK = 7_061_011
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_TOKEN_PRICES = ("input", "cached_input", "output")
_PAGE_PRICES = ("standard", "enhanced")


class RateCardRow(SQLModel, table=True):
    """A card as it was posted."""

    __tablename__ = "rate_card"

    id: str = Field(primary_key=True)
    account_id: str | None = Field(default=None, foreign_key="account.id", index=True)
    effective_at: datetime = Field(sa_type=INSTANT)
    club_discount: bool
    models: dict[str, Any] = Field(sa_type=DOCUMENT)
    created_at: datetime = Field(sa_type=INSTANT)


class RateCardInUse(ValueError):
    """Calls were priced in the gap between this card's instant and now."""

    def __init__(self, effective_at: datetime) -> None:
        super().__init__(f"the ledger has calls since {_told(effective_at)} that this card would reprice")


class RateCardOverlaps(ValueError):
    """Of two prices from the same instant on nobody could say which one holds."""

    def __init__(self, card_id: str, name: str, effective_at: datetime) -> None:
        super().__init__(f"card {card_id} prices {name!r} from {_told(effective_at)} on already")
        self.card_id, self.name = card_id, name


def _told(instant: datetime) -> str:
    return f"{instant.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"


CallsSince = Callable[[AsyncSession, Sequence[str], datetime, str | None], Awaitable[bool]]
"""Has the ledger a call for one of these model names since an instant (of one account)?"""


async def add_card(
    session: AsyncSession, values: Mapping[str, Any], calls_since: CallsSince, now: datetime
) -> RateCardRow:
    """Post a card: `{"effective_at", "account_id"?, "club_discount"?, "models": {…}}`."""
    from_wire_models(values["models"])
    from_wire_buys(values["models"])
    effective_at, account_id = values["effective_at"], values.get("account_id")
    await _check_overlap(session, effective_at, account_id, _names(values["models"]))
    if effective_at > _EPOCH:
        _check_kinds(values["models"], await all_cards(session), account_id, effective_at)
    if effective_at < now and await calls_since(session, _names(values["models"]), effective_at, account_id):
        raise RateCardInUse(effective_at)
    row = RateCardRow(
        id=new_id("card", now),
        account_id=account_id,
        effective_at=effective_at,
        # A negotiated price takes no club discount unless it says so (design.md section 5.1).
        club_discount=bool(values.get("club_discount", account_id is None)),
        models=dict(values["models"]),
        created_at=now,
    )
    session.add(row)
    await session.flush()
    return row


async def _check_overlap(
    session: AsyncSession, effective_at: datetime, account_id: str | None, names: Sequence[str]
) -> None:
    """Cards are posted one after another. What a sandbox begins with, at the epoch, may be stated anew."""
    await session.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _CARDS_LOCK})
    if effective_at <= _EPOCH:
        return
    query = select(RateCardRow).where(col(RateCardRow.effective_at) == effective_at)
    for row in (await session.execute(query.order_by(col(RateCardRow.id)))).scalars():
        shared = sorted(set(_names(row.models)) & set(names))
        if row.account_id == account_id and shared:
            raise RateCardOverlaps(row.id, shared[0], effective_at)


def _check_kinds(
    wire: Mapping[str, Any], cards: Sequence[RateCard], account_id: str | None, effective_at: datetime
) -> None:
    """A card that is silent about a kind of token by which the model is sold until then would give it away: free has to be said."""
    for model, entry in wire.items():
        found = find_card(newest_first(cards), model, account_id or "", effective_at)
        if found is None:
            continue
        before, named = found[0].models[found[1]], _prices(model, entry, ("aliases", "buy"))
        for kind in _TOKEN_PRICES:
            if before.of(kind) and kind not in named:
                raise ValueError(
                    f'models.{model}.{kind}: card {found[0].id} has a price for it; say it too, "0" where it is to be free'
                )


async def all_cards(session: AsyncSession) -> list[RateCard]:
    """Every card, newest posted first (so that of two with one instant the newer is asked first)."""
    rows = (await session.execute(select(RateCardRow).order_by(col(RateCardRow.id).desc()))).scalars().all()
    return [from_row_card(row) for row in rows]


async def page(session: AsyncSession, after: str | None, count_max: int) -> Sequence[RateCardRow]:
    """Cards by id, after a cursor."""
    query = select(RateCardRow).order_by(col(RateCardRow.id)).limit(count_max)
    if after is not None:
        query = query.where(col(RateCardRow.id) > after)
    return (await session.execute(query)).scalars().all()


def from_row_card(row: RateCardRow) -> RateCard:
    models, aliases = from_wire_models(row.models)
    buys = from_wire_buys(row.models)
    return RateCard(row.id, row.effective_at, models, aliases, row.account_id, row.club_discount, buys)


def from_wire_models(wire: Mapping[str, Any]) -> tuple[dict[str, ModelPrice], dict[str, str]]:
    """The contract's `models` object → prices by model, and aliases. Raises ValueError naming the wrong field."""
    if not wire:
        raise ValueError("models: a card must price at least one model")
    models: dict[str, ModelPrice] = {}
    aliases: dict[str, str] = {}
    for model, entry in wire.items():
        if not isinstance(entry, Mapping):
            raise ValueError(f"models.{model}: must be an object")
        models[model] = ModelPrice(**_prices(model, entry, ("aliases", "buy")))
        for alias in entry.get("aliases", ()):
            if alias in wire or aliases.get(alias, model) != model:
                raise ValueError(f"models.{model}.aliases: {alias!r} is priced twice on this card")
            aliases[alias] = model
    return models, aliases


def from_wire_buys(wire: Mapping[str, Any]) -> dict[str, ModelPrice]:
    """What upstream takes, by model: the `buy` of a contract's `models` object, where it has one. Raises ValueError.

    It has a price for each kind that the model is sold by, so that no cost is left out unseen.
    """
    buys: dict[str, ModelPrice] = {}
    for model, entry in wire.items():
        if "buy" not in entry:
            continue
        if not isinstance(entry["buy"], Mapping):
            raise ValueError(f"models.{model}.buy: must be an object")
        buy = _prices(f"{model}.buy", entry["buy"])
        missing = sorted(set(_prices(model, entry, ("aliases", "buy"))) - set(buy))
        if missing:
            raise ValueError(f"models.{model}.buy: has no price for {missing[0]}, by which the model is sold")
        buys[model] = ModelPrice(**buy)
    return buys


def _prices(where: str, entry: Mapping[str, Any], besides: Sequence[str] = ()) -> dict[str, Decimal]:
    page = entry.get("page", {})
    unknown = set(entry) - {*besides, "page", *_TOKEN_PRICES} | set(page) - set(_PAGE_PRICES)
    if unknown:
        raise ValueError(f"models.{where}: unknown field {sorted(unknown)[0]!r}")
    tokens = {kind: _price(where, kind, entry[kind]) for kind in _TOKEN_PRICES if kind in entry}
    if "input" in tokens:
        tokens.setdefault("cached_input", tokens["input"])
    pages = {kind: _price(where, f"page.{kind}", page[kind]) for kind in _PAGE_PRICES if kind in page}
    if not tokens and not pages:
        raise ValueError(f"models.{where}: needs a price, such as input and output, or page")
    return {**tokens, **pages}


def _names(wire: Mapping[str, Any]) -> list[str]:
    return [name for model, entry in wire.items() for name in (model, *entry.get("aliases", ()))]


def _price(model: str, field: str, said: Any) -> Decimal:
    try:
        price = Decimal(said) if isinstance(said, str) else None
    except InvalidOperation:
        price = None
    if price is None or not price.is_finite() or price < 0 or price > 1_000_000 or -int(price.as_tuple().exponent) > 12:
        raise ValueError(
            f'models.{model}.{field}: must be a decimal string such as "0.30", from 0 to 1000000, at most 12 places'
        )
    return price


def version_of(cards: Sequence[RateCard]) -> int:
    """The Unix millisecond at which the newest of these cards was posted (its id is a UUIDv7); 0 for none."""
    return max((int(card.id.removeprefix("card_")[:12], 16) for card in cards), default=0)
