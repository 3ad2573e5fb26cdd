"""Who feeds whose share, and which accounts seem to belong together."""

from __future__ import annotations

from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from billing.share.patterns import Flow, fed
from billing.share.related import Known, suggested

amounts = st.fractions(Fraction(1, 100), 1000, max_denominator=1000)
names = st.sampled_from(["a", "b", "c", "d"])
flows = st.lists(st.tuples(names, names, amounts), max_size=12).map(
    lambda rows: [Flow(f"acc_{to}", to, f"acc_{by}", by, usd) for to, by, usd in rows if to != by]
)


def flow(to: str, by: str, usd: int) -> Flow:
    return Flow(f"acc_{to}", to, f"acc_{by}", by, Fraction(usd))


@given(flows)
def test_concentration_is_between_an_even_spread_and_one_payer(flows: list[Flow]) -> None:
    for each in fed(flows):
        assert Fraction(1, len(each.payer_groups)) <= each.concentration <= 1
        assert sum((usd for _, usd in each.payer_groups), Fraction(0)) == each.usd
        assert 0 <= each.reciprocal <= 1


def test_two_groups_that_feed_one_another_are_flagged_and_one_with_many_payers_is_not() -> None:
    wide = [flow("wide", f"payer_{number}", 10) for number in range(10)]
    ring = [flow("left", "right", 50), flow("right", "left", 50), flow("left", "payer_1", 1)]
    found = {each.owner_group: each for each in fed([*wide, *ring])}
    assert found["wide"].flags == ()
    assert found["wide"].concentration == Fraction(1, 10)
    assert found["left"].flags == ("few_payers", "one_payer", "concentrated", "reciprocal")
    assert found["left"].reciprocal == Fraction(50, 51)
    assert found["right"].concentration == 1


def test_a_tie_beside_the_money_is_flagged_and_small_money_is_not() -> None:
    spread = [flow("press", f"payer_{number}", 10) for number in range(5)]
    (press,) = fed(spread, [frozenset({"press", "payer_2"})])
    assert (press.flags, press.related) == (("related",), ("payer_2",))
    (small,) = fed([flow("press", "payer_1", 9)], [frozenset({"press", "payer_1"})])
    assert small.flags == ()


def test_accounts_with_one_tax_number_or_one_destination_are_suggested_however_it_is_written() -> None:
    bank = {"kind": "bank", "account": "110-000"}
    known = [
        Known("acc_1", "a", ("120-81-47521",), (bank,)),
        Known("acc_2", "b", ("1208147521", "")),
        Known("acc_3", "b", ("1208147521",)),
        Known("acc_4", "d", (), ({"account": "110-000", "kind": "bank"},)),
    ]
    told = {each.why: (each.account_ids, each.owner_groups) for each in suggested(known)}
    assert told == {
        "tax_number": (("acc_1", "acc_2", "acc_3"), ("a", "b")),
        "payment_destination": (("acc_1", "acc_4"), ("a", "d")),
    }


def test_accounts_of_one_group_are_not_suggested_and_nothing_in_common_suggests_nothing() -> None:
    assert suggested([Known("acc_1", "a", ("1",)), Known("acc_2", "a", ("1",)), Known("acc_3", "b", ("2",))]) == []


def test_calls_of_the_same_sizes_are_suggested_only_where_they_are_many() -> None:
    known = [Known("acc_1", "a"), Known("acc_2", "b"), Known("acc_3", "c")]
    alike = [["acc_1", "acc_2"]] * 20 + [["acc_3", "acc_1"]] * 19
    (one,) = suggested(known, alike)
    assert (one.account_ids, one.why) == (("acc_1", "acc_2"), "same_calls")
