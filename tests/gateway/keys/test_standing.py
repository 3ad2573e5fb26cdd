"""What a caller pays for a model is remembered for a second at most, and never across a change."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from msgspec.structs import replace

from billing.prices import ModelPrice, RateCard
from gateway.call import RateLimit
from gateway.clock import to_ns
from gateway.errors import KeyNotAllowed, ModelNotFound
from gateway.keys.prices import PriceTable
from gateway.keys.standing import Standings
from tests.gateway.values import a_caller

NOW = datetime(2026, 11, 20, 12, 0, 0, 300_000, tzinfo=UTC)
NOW_NS = to_ns(NOW)
SECOND_NS = 1_000_000_000
CALLER = a_caller("acc_00000001", limits=[RateLimit("a:acc_00000001", 10)])


def a_card(price: str, effective_at: datetime = datetime(2026, 1, 1, tzinfo=UTC)) -> RateCard:
    models = {"solar-pro4": ModelPrice(Decimal(price), Decimal(price), Decimal(price))}
    return RateCard(f"card_{price}", effective_at, models, {"solar-x": "solar-pro4"})


def standings_of(*cards: RateCard) -> Standings:
    async def read() -> list[RateCard]:
        return list(cards)

    return Standings(PriceTable(read, fresh_s=60))


async def test_within_a_second_it_is_worked_out_once() -> None:
    standings = standings_of(a_card("1"))
    assert standings.known(CALLER, "chat", "solar-x", NOW_NS) is None
    found = await standings.find(CALLER, "chat", "solar-x", NOW_NS)
    assert (found.price.model, found.price.prices.input, str(found.month)) == ("solar-pro4", Decimal(1), "2026-11")
    assert found.place.rates == CALLER.rate_limits
    for within_ns in (NOW_NS - 299_999_999, NOW_NS, NOW_NS + 699_999_999):
        assert standings.known(CALLER, "chat", "solar-x", within_ns) is found


async def test_another_second_caller_model_or_endpoint_is_not_known() -> None:
    standings = standings_of(a_card("1"))
    await standings.find(CALLER, "chat", "solar-x", NOW_NS)
    assert standings.known(CALLER, "chat", "solar-x", NOW_NS + SECOND_NS) is None
    assert standings.known(CALLER, "chat", "solar-x", NOW_NS - SECOND_NS) is None
    assert standings.known(replace(CALLER, epoch=2), "chat", "solar-x", NOW_NS) is None
    assert standings.known(CALLER, "chat", "solar-pro4", NOW_NS) is None
    assert standings.known(CALLER, "messages", "solar-x", NOW_NS) is None


async def test_a_rate_card_that_was_posted_has_it_worked_out_anew() -> None:
    cards = [a_card("1")]

    async def read() -> list[RateCard]:
        return list(cards)

    prices = PriceTable(read, fresh_s=60)
    standings = Standings(prices)
    await standings.find(CALLER, "chat", "solar-x", NOW_NS)
    prices.version += 1
    assert standings.known(CALLER, "chat", "solar-x", NOW_NS) is None


@pytest.mark.parametrize("begins_ms", [1, 300, 301, 999])
async def test_a_second_in_which_a_price_begins_is_not_remembered(begins_ms: int) -> None:
    begins = NOW.replace(microsecond=0) + timedelta(milliseconds=begins_ms)
    standings = standings_of(a_card("1"), a_card("2", begins))
    found = await standings.find(CALLER, "chat", "solar-x", NOW_NS)
    assert found.price.prices.input == (2 if begins_ms <= 300 else 1)
    assert standings.known(CALLER, "chat", "solar-x", NOW_NS) is None


@pytest.mark.parametrize("begins_s", [0, 1])
async def test_a_price_that_begins_with_a_second_holds_in_all_of_it(begins_s: int) -> None:
    standings = standings_of(a_card("1"), a_card("2", NOW.replace(microsecond=0) + timedelta(seconds=begins_s)))
    found = await standings.find(CALLER, "chat", "solar-x", NOW_NS)
    assert found.price.prices.input == 2 - begins_s
    assert standings.known(CALLER, "chat", "solar-x", NOW_NS + 699_999_999) is found


async def test_a_second_in_which_a_discount_begins_is_not_remembered() -> None:
    begins = NOW + timedelta(milliseconds=1)
    club = replace(CALLER, discounts=((begins, "silver", Decimal("0.1"), "club: silver"),))
    standings = standings_of(a_card("1"))
    assert (await standings.find(club, "chat", "solar-x", NOW_NS)).price.discount == 0
    assert standings.known(club, "chat", "solar-x", NOW_NS + 1_000_000) is None


async def test_what_is_refused_is_refused_each_time() -> None:
    standings = standings_of(a_card("1"))
    narrow = replace(CALLER, models=frozenset({"solar-mini"}))
    for _ in range(2):
        with pytest.raises(KeyNotAllowed):
            await standings.find(narrow, "chat", "solar-x", NOW_NS)
        with pytest.raises(ModelNotFound):
            await standings.find(CALLER, "chat", "solar-9", NOW_NS)
        assert standings.known(narrow, "chat", "solar-x", NOW_NS) is None


async def test_beyond_its_bound_it_forgets_and_goes_on() -> None:
    async def read() -> list[RateCard]:
        return [a_card("1")]

    standings = Standings(PriceTable(read, fresh_s=60), entries_max=2)
    for number in range(5):
        caller = a_caller("acc_00000001", key_id=f"key_{number}")
        found = await standings.find(caller, "chat", "solar-x", NOW_NS)
        assert standings.known(caller, "chat", "solar-x", NOW_NS) is found
    assert len(standings._known) <= 2
