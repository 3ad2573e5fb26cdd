"""What upstream takes and what is left of a call: against a second count in fractions, from the card to the sums over a month."""

from __future__ import annotations

import random
from collections import defaultdict
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.database import Sessions
from billing.ledger.calls import page_calls
from billing.ledger.entry import Settled, entry_of
from billing.ledger.usage import usage
from billing.money import ZERO
from billing.prices import ModelPrice, RateCard, find_buy, newest_first, price_on
from billing.rate_cards import from_wire_buys, from_wire_models
from tests.billing.months import OCTOBER, PRICES, book, call

START = datetime(2026, 10, 1, tzinfo=UTC)
ZONE = "Asia/Seoul"
posted = st.decimals(min_value=0, max_value=1000, places=12).map(str)
fives = st.tuples(posted, posted, posted, posted, posted)
counts = st.integers(0, 10**7)
usages = st.tuples(counts, counts, counts, counts, counts)


def in_fractions(used: tuple[int, ...], prices: tuple[str, ...]) -> Fraction:
    """USD for counts at prices a million tokens (the first three) and a page (the last two)."""
    per = (1_000_000, 1_000_000, 1_000_000, 1, 1)
    return sum((n * Fraction(p) / each for n, p, each in zip(used, prices, per, strict=True)), Fraction(0))


def bought(settled: Settled, buy: tuple[str, ...] | None, absorbed: tuple[int, ...] = (0, 0, 0, 0, 0)) -> Settled:
    return Settled(msgspec.structs.replace(settled.record, buy_prices=buy, absorbed=absorbed), settled.grants)


def left(item: Settled) -> Fraction:
    """The margin of a call: what it costs after grants and discount, less what upstream takes for all that it served."""
    record, granted = item.record, [0] * 5
    for _, kind, tokens in item.grants:
        granted[("input", "cached_input", "output").index(kind)] += tokens
    charged = tuple(n - g for n, g in zip(record.usage, granted, strict=True))
    revenue = in_fractions(charged, record.prices) * (1 - Fraction(record.discount))
    served = tuple(n + a for n, a in zip(record.usage, record.absorbed, strict=True))
    return revenue - in_fractions(served, record.buy_prices or ())


@given(usages, usages, fives, fives, st.decimals(0, 1, places=4).map(str), st.data())
def test_a_call_leaves_what_a_count_in_fractions_leaves(
    used: Any, absorbed: Any, prices: Any, buy: Any, discount: str, data: st.DataObject
) -> None:
    grants = (("gra_1", "output", data.draw(st.integers(0, used[2]))),)
    item = bought(call("acc_1", used, prices=prices, discount=discount, grants=grants), buy, absorbed)
    entry = entry_of(item, "")
    assert entry.common.buy is not None
    cost, buy_cost, absorbed_buy_cost = (
        Fraction(units, 10**places)
        for units, places in (
            (entry.cost_units, entry.common.charged.places),
            (entry.buy_units, entry.common.buy.places),
            (entry.absorbed_buy_units, entry.common.buy.places),
        )
    )
    assert buy_cost == in_fractions(used, buy)
    assert cost - buy_cost - absorbed_buy_cost == left(item)


async def test_the_margin_of_a_month_by_model_and_of_each_call_equals_its_recount(sessions: Sessions) -> None:
    rng = random.Random(11)
    calls = []
    for _ in range(120):
        used = tuple(rng.randrange(3000) for _ in range(5))
        model, off = rng.choice(["solar-pro4", "solar-mini4"]), rng.choice(["0", "0.1"])
        item = call(f"acc_{rng.randrange(3)}", used, model=model, discount=off)  # type: ignore[arg-type]
        buy = tuple(str(Decimal(price) * rng.choice(FACTORS)) for price in PRICES)
        calls.append(bought(item, buy, (0, 0, rng.randrange(50), 0, 0)))
    await book(sessions, *calls)
    by_model: dict[str | None, Fraction] = defaultdict(Fraction)
    for item in calls:
        by_model[item.record.model] += left(item)
    async with sessions() as session:
        groups, total = await usage(session, *OCTOBER.bounds(ZONE), group_by="model", zone=ZONE)
        rows, _ = await page_calls(session, "2026-10", None, None, 1000, house=True)
    assert {group.group: Fraction(group.margin or 0) for group in groups} == by_model
    assert Fraction(total.margin or 0) == sum(by_model.values())
    assert {row["call_id"]: Fraction(row["margin"]) for row in rows} == {i.record.call_id: left(i) for i in calls}
    shown = {row["call_id"]: tuple(Fraction(row[f"buy_{name}_price"]) for name in NAMES) for row in rows}
    assert shown == {item.record.call_id: tuple(map(Fraction, item.record.buy_prices or ())) for item in calls}


FACTORS = (Decimal(1), Decimal("0.7"), Decimal(2))
NAMES = ("input", "cached_input", "output", "standard", "enhanced")


async def test_a_margin_that_cannot_be_known_is_none_and_a_replaced_estimate_leaves_no_trace_in_it(
    sessions: Sessions,
) -> None:
    exact = bought(call("acc_1", (100, 0, 50, 0, 0)), PRICES)
    await book(sessions, Settled(msgspec.structs.replace(exact.record, usage=(900, 0, 9, 0, 0), estimated_reason=LOST)))
    await book(sessions, exact)
    async with sessions() as session:
        _, total = await usage(session, *OCTOBER.bounds(ZONE), account_id="acc_1", zone=ZONE)
        assert (total.calls, total.margin) == (1, ZERO)
    await book(sessions, call("acc_1"))
    async with sessions() as session:
        _, total = await usage(session, *OCTOBER.bounds(ZONE), account_id="acc_1", zone=ZONE)
    assert (total.calls, total.calls_without_buy_price, total.margin) == (2, 1, None)


LOST = "worker lost"


def card(name: str, days: int, buy: str | None, account_id: str | None = None) -> RateCard:
    models, aliases = {"solar-pro4": ModelPrice(Decimal(1))}, {"solar-pro4-260806": "solar-pro4"}
    buys = {} if buy is None else {"solar-pro4": ModelPrice(Decimal(buy))}
    return RateCard(name, START + timedelta(days=days), models, aliases, account_id, True, buys)


def test_a_card_that_is_silent_leaves_upstreams_price_as_the_newest_standard_card_in_force_stated_it() -> None:
    own, silent = card("own", 3, None, "acc_1"), card("silent", 4, None)
    cards = newest_first([own, card("old", 0, "0.5"), card("new", 2, "0.7"), silent, card("later", 9, "0.9")])
    found = {
        (each.id, days): find_buy(cards, each, "solar-pro4", START + timedelta(days=days))
        for each in (own, silent)
        for days in (1, 5, 9)
    }
    assert {key: of and of[0] for key, of in found.items()} == {
        (name, days): stated for name in ("own", "silent") for days, stated in ((1, "old"), (5, "new"), (9, "later"))
    }
    stating = card("stating", 3, "0.1", "acc_1")
    assert find_buy([stating, *cards], stating, "solar-pro4", START + timedelta(days=9)) == (
        "stating",
        ModelPrice(Decimal("0.1")),
    )
    assert find_buy([silent], silent, "solar-pro4", START + timedelta(days=9)) is None
    assert price_on(silent, "solar-pro4", Decimal(0), "none").buy_texts is None


def test_a_buy_price_says_every_kind_by_which_the_model_is_sold() -> None:
    sold = {"input": "0.30", "cached_input": "0.06", "output": "1.20"}
    full = {"solar-pro4": {**sold, "buy": {"input": "0.20", "output": "1"}}}
    assert from_wire_buys(full) == {"solar-pro4": ModelPrice(Decimal("0.20"), Decimal("0.20"), Decimal(1))}
    assert from_wire_models(full)[0]["solar-pro4"].input == Decimal("0.30")
    wrong = {
        "has no price for output": {"input": "0.2"},
        "unknown field 'aliases'": {"input": "0.2", "output": "1", "aliases": []},
        r"solar-pro4\.buy\.output: must be a decimal string": {"input": "0.2", "output": 1},
        "must be an object": "0.2",
    }
    for says, buy in wrong.items():
        with pytest.raises(ValueError, match=says):
            from_wire_buys({"solar-pro4": {**sold, "buy": buy}})
