"""The table of prices of one process: fresh for a second, at once when it is known to be old, of use while Postgres is away."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from billing.ids import new_id
from billing.prices import ModelPrice, RateCard
from gateway.errors import ModelNotFound, ServiceUnavailable
from gateway.keys.prices import PriceTable
from tests.gateway.values import a_caller

NOW = datetime(2026, 11, 20, tzinfo=UTC)
CALLER = a_caller("acc_00000001")


def a_card(price: str, *, posted: datetime = NOW, account_id: str | None = None) -> RateCard:
    models = {"solar-pro4": ModelPrice(Decimal(price), Decimal(price), Decimal(price))}
    return RateCard(
        new_id("card", posted), datetime(2026, 1, 1, tzinfo=UTC), models, {"solar-x": "solar-pro4"}, account_id
    )


@dataclass
class Cards:
    """Where the cards are read, as the test steers it."""

    cards: list[RateCard] = field(default_factory=lambda: [a_card("1")])
    away: bool = False
    reads: int = 0

    async def read(self) -> Sequence[RateCard]:
        self.reads += 1
        if self.away:
            raise ServiceUnavailable
        return list(self.cards)


async def test_prices_are_read_once_while_fresh_and_at_once_when_known_to_be_old() -> None:
    source = Cards()
    table = PriceTable(source.read, fresh_s=60)
    for _ in range(3):
        assert (await table.price("solar-x", CALLER, NOW)).prices.input == 1
    assert source.reads == 1
    source.cards.append(a_card("2", posted=datetime(2026, 11, 21, tzinfo=UTC), account_id=CALLER.account_id))
    old = table.version
    await table.refresh(newer_than=old)
    assert table.version > old
    assert (await table.price("solar-pro4", CALLER, NOW)).prices.input == 2
    await table.refresh(newer_than=old)  # somebody else has read it already
    assert source.reads == 2


async def test_a_model_on_no_card_is_not_found_and_only_what_is_offered_is_listed() -> None:
    source = Cards([a_card("1"), a_card("9", account_id="acc_other")])
    table = PriceTable(source.read)
    with pytest.raises(ModelNotFound):
        await table.price("solar-9", CALLER, NOW)
    with pytest.raises(ModelNotFound):
        await table.price("solar-pro4", CALLER, datetime(2025, 1, 1, tzinfo=UTC))
    offered = await table.offered(CALLER, NOW)
    assert {name: price.prices.input for name, price in offered.items()} == {"solar-pro4": 1, "solar-x": 1}


async def test_while_postgres_is_away_the_cards_known_go_on_unless_they_are_known_to_be_old() -> None:
    source = Cards(away=True)
    table = PriceTable(source.read, fresh_s=0)
    with pytest.raises(ServiceUnavailable):
        await table.price("solar-pro4", CALLER, NOW)
    source.away = False
    await table.price("solar-pro4", CALLER, NOW)
    source.away = True
    assert (await table.price("solar-pro4", CALLER, NOW)).prices.input == 1
    with pytest.raises(ServiceUnavailable):
        await table.refresh(newer_than=table.version)
