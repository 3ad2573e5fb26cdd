"""Statements: paid out or carried over."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from billing.share.payout import pay_out, statements_of, to_wire_pools, to_wire_step
from billing.share.split import Partner, Pool, Step, split

cents = st.decimals(min_value="-100", max_value="1000", places=2)
minimums = st.decimals(min_value=0, max_value="100", places=2)


@given(cents, cents, minimums)
def test_what_is_due_is_paid_whole_or_carried_whole(amount: Decimal, carried_in: Decimal, minimum: Decimal) -> None:
    payout, carried_over = pay_out(amount, carried_in, minimum)
    assert payout + carried_over == amount + carried_in
    assert 0 in (payout, carried_over)
    assert payout == 0 or payout >= minimum
    assert carried_over < minimum or carried_over == 0 or carried_over < 0


@given(st.lists(cents.filter(lambda amount: amount >= 0), max_size=12), minimums)
def test_over_many_months_nothing_is_lost(amounts: list[Decimal], minimum: Decimal) -> None:
    paid, carried = Decimal(0), Decimal(0)
    for amount in amounts:
        payout, carried = pay_out(amount, carried, minimum)
        paid += payout
    assert paid + carried == sum(amounts)


def test_a_former_partner_still_gets_what_was_carried() -> None:
    nothing = split([], [])
    (statement,) = statements_of("2026-11", nothing, {"acc_9": Decimal("3.21")}, Decimal("1.00"), "pro_rata")
    assert (statement.account_id, statement.amount, statement.payout) == ("acc_9", Decimal(0), Decimal("3.21"))


def test_a_step_shows_how_a_pool_came_to_a_partner() -> None:
    step = Step(1, "solar-pro4", Fraction("0.10"), Decimal(1), Decimal(3), net=Decimal("0.50"))
    assert to_wire_step(step) == {
        "kind": "pool",
        "payer": 1,
        "model": "solar-pro4",
        "net_revenue": "0.50",
        "pool": "0.10",
        "pool_fraction": "1/10",
        "weight": "1.00",
        "weight_total": "3.00",
        "fraction": "1.00/3.00",
        "exact_amount": "0.033333333333333333",
    }


def test_a_statement_names_no_payer_and_finance_sees_them_all() -> None:
    pools = [Pool("acc_small", "a", "solar-pro4", Fraction(1)), Pool("acc_big", "b", "solar-pro4", Fraction(2))]
    parts = split(pools, [Partner("acc_1", "c", (("news", Decimal(1)),))])
    (statement,) = statements_of("2026-10", parts, {}, Decimal(0), "pro_rata")
    assert "acc_small" not in str(statement.steps)
    assert "acc_big" not in str(statement.steps)
    assert [step["payer"] for step in statement.steps] == [1, 2]
    named = {each["account_id"]: (each["payer"], each["with_house"]) for each in to_wire_pools(pools, [])}
    assert named == {"acc_big": (1, False), "acc_small": (2, False)}
