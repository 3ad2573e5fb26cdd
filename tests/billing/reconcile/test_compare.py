"""Planted faults in upstream's account are found and named, and nothing is left over; by properties and by a sum of their own."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from billing.reconcile.compare import compare
from billing.reconcile.report import RESIDUE_RATIO_MAX, to_wire_compared
from billing.reconcile.usage_export import UsageExport, from_wire_export
from tests.billing.reconcile.worlds import (
    FIRST,
    OCTOBER,
    SOLD,
    Call,
    Row,
    compared,
    cost_of,
    counts_of,
    export_of,
    ledger_of,
    month_of_calls,
    named,
    priced,
    text_of,
    with_timeouts,
)

quick = settings(max_examples=25)
rngs = st.integers(0, 2**32).map(random.Random)


@quick
@given(rngs, st.booleans())
def test_clean_data_agrees_and_leaves_less_than_a_hundredth_of_a_percent(rng: random.Random, with_prices: bool) -> None:
    calls = month_of_calls(rng)
    result = compared(calls, export_of(calls), with_prices=with_prices)
    assert result.findings == ()
    assert abs(result.residue_usd) <= result.upstream_usd * RESIDUE_RATIO_MAX
    told = to_wire_compared(result)
    assert (told["agrees"], told["what_to_do"]) == (True, ["Nothing: both agree."])


@quick
@given(rngs)
def test_what_upstream_says_of_calls_whose_count_was_lost_is_named_timeouts_to_the_last_digit(
    rng: random.Random,
) -> None:
    calls = with_timeouts(rng, month_of_calls(rng))
    result = compared(calls, export_of(calls))
    lost = [call for call in calls if call.lost or call.estimated is not None]
    assert set(named(result)) <= {"timeouts"}
    more = [
        cost_of(c.counts, SOLD[c.model]) - (cost_of(c.estimated, SOLD[c.model]) if c.estimated else 0) for c in lost
    ]
    assert named(result).get("timeouts", Fraction(0)) == sum(more, Fraction(0))
    assert sum(each.calls for each in result.findings) == sum(call.lost for call in calls)


@quick
@given(rngs, st.integers(1, 4))
def test_doubled_rows_are_counted_once_and_told_with_their_lines(rng: random.Random, count: int) -> None:
    calls = month_of_calls(rng)
    rows = export_of(calls)
    again = rng.sample(rows, count)
    result = compared(calls, [*rows, *again])
    assert named(result) == {"doubled": sum(Fraction(row["cost_usd"]) for row in again)}
    evidence = [each.evidence for each in result.findings]
    assert all("of the export repeats line" in text for text in evidence)


def test_a_group_of_which_upstream_counts_each_call_twice_is_doubled() -> None:
    calls = month_of_calls(random.Random(1))
    first, *rest = export_of(calls)
    twice = priced({**first, "requests": first["requests"] * 2}, _times(first, 2))
    (found,) = compared(calls, [twice, *rest]).findings
    assert (found.name, found.evidence) == ("doubled", "upstream counts each call 2 times")


def _times(row: Row, times: int) -> tuple[int, int, int, int, int]:
    a, b, c, d, e = (count * times for count in counts_of(row))
    return a, b, c, d, e


@quick
@given(rngs, st.integers(0, 4), st.sampled_from(["0.07", "0.0605", "0.3", "0"]))
def test_a_price_that_upstream_changed_is_named_with_its_kind_and_days(
    rng: random.Random, since: int, price: str
) -> None:
    """The cached price of one model is another one from a day on; several days tell which price it was."""
    calls = [call for call in month_of_calls(rng) if call.model != "document-parse"]
    begin = FIRST + timedelta(days=since)
    rows, due = [], Fraction(0)
    for row in export_of(calls, 12):
        if row["model"] == "solar-pro4" and row["date"] >= begin:
            due += row["cached_input_tokens"] * (Fraction(price) - Fraction("0.06")) / 10**6
            row = priced(row, counts_of(row), 12, ("0.30", price, "1.20", "0", "0"))
        rows.append(row)
    result = compared(calls, rows)
    assert set(named(result)) <= {"price"}
    assert abs(named(result).get("price", Fraction(0)) - due) <= Fraction(len(rows), 10**12)
    if since <= 2:
        told = {(each.kind, each.evidence) for each in result.findings if each.key == "key-a"}
        assert told == {("cached_input", f"cached_input at {price} instead of 0.06")}
        assert min(each.day for each in result.findings) == begin


@quick
@given(rngs, st.sampled_from(["0.07", "0.3"]))
def test_an_export_that_states_its_prices_is_taken_at_its_word(rng: random.Random, price: str) -> None:
    calls = month_of_calls(rng)
    rows = []
    for row in export_of(calls, 12):
        if row["model"] == "solar-pro4":
            row = priced(row, counts_of(row), 12, ("0.30", price, "1.20", "0", "0")) | {"cached_input_price": price}
        rows.append(row)
    result = compared(calls, rows, with_prices=True)
    assert {(each.name, each.kind, each.evidence) for each in result.findings} == {
        ("price", "cached_input", f"0.06 on the rate card, {price} in the export")
    }
    assert [(each.day, each.days) for each in result.findings] == [(FIRST, 5)] * 2


@quick
@given(rngs, st.integers(1, 5))
def test_rows_that_upstream_left_out_are_missing(rng: random.Random, count: int) -> None:
    calls = month_of_calls(rng)
    rows = export_of(calls, 12)
    gone = rng.sample(rows, count)
    result = compared(calls, [row for row in rows if row not in gone])
    assert set(named(result)) == {"missing"}
    assert abs(named(result)["missing"] + sum(Fraction(row["cost_usd"]) for row in gone)) <= Fraction(count, 10**12)


@quick
@given(rngs, st.sampled_from(["key-a", "key-stolen"]))
def test_calls_that_went_past_the_gateway_are_unknown(rng: random.Random, key: str) -> None:
    calls = month_of_calls(rng)
    strangers = [Call(FIRST, key, "solar-pro4", (50_000, 10_000, 9_000, 0, 0)) for _ in range(3)]
    result = compared(calls, export_of([*calls, *strangers], 12))
    assert set(named(result)) == {"unknown"}
    assert sum(each.calls for each in result.findings) == 3
    assert named(result)["unknown"] == 3 * cost_of(strangers[0].counts, SOLD["solar-pro4"])
    why = "no call of the month went over this key" if key == "key-stolen" else "more calls than the ledger has"
    assert {each.evidence for each in result.findings} == {why}


@quick
@given(rngs, st.data())
def test_whatever_is_planted_together_the_names_and_the_residue_sum_to_the_difference(
    rng: random.Random, data: st.DataObject
) -> None:
    """`compared` holds every sum against one of its own; here nothing is in order."""
    calls = with_timeouts(rng, month_of_calls(rng))
    rows = export_of(calls, data.draw(st.integers(2, 12)))
    for row in rng.sample(rows, 5):
        counts = [max(0, count + data.draw(st.integers(-5000, 5000))) for count in counts_of(row)]
        row |= priced({**row, "requests": max(0, row["requests"] + data.draw(st.integers(-3, 3)))}, tuple(counts))  # type: ignore[arg-type]
    rows += rng.sample(rows, data.draw(st.integers(0, 2)))
    rows = [row for row in rows if rng.random() > 0.05]
    rng.shuffle(rows)
    shuffled = rng.sample(calls, len(calls))
    assert named(compared(calls, rows)) == named(compared(shuffled, rows))


def test_calls_of_the_last_minutes_that_upstream_counts_on_the_next_day_are_no_difference() -> None:
    calls = month_of_calls(random.Random(2))
    late = [Call(FIRST, "key-a", "solar-pro4", (5000, 100, 700, 0, 0)) for _ in range(4)]
    moved = [replace(call, day=FIRST + timedelta(days=1)) for call in late]
    ours = ledger_of([*calls, *late])
    ours = [
        replace(each, late_calls=4, late_counts=(20_000, 400, 2800, 0, 0))
        if (each.day, each.key, each.model) == (FIRST, "key-a", "solar-pro4")
        else each
        for each in ours
    ]
    result = compare(ours, from_wire_export(text_of(export_of([*calls, *moved])), OCTOBER))
    (found,) = result.findings
    assert (found.name, found.calls, found.quantity, found.usd) == ("midnight", 4, 23_200, Fraction(0))
    assert to_wire_compared(result)["agrees"]


def test_a_ledger_that_does_not_know_its_keys_is_compared_over_all_of_them() -> None:
    calls = month_of_calls(random.Random(3))
    unaware = [replace(each, key="") for each in ledger_of(calls)]
    result = compare(unaware, from_wire_export(text_of(export_of(calls)), OCTOBER))
    assert result.findings == ()
    assert result.upstream_calls == result.ledger_calls == len(calls)


def test_an_export_that_does_not_tell_keys_apart_is_compared_over_all_of_them() -> None:
    calls = month_of_calls(random.Random(3))
    rows = export_of([replace(call, key="") for call in calls])
    assert compare(ledger_of(calls), from_wire_export(text_of(rows), OCTOBER)).findings == ()


def test_without_a_buy_price_the_calls_are_told_and_not_guessed() -> None:
    calls = month_of_calls(random.Random(4))
    ours = [replace(each, prices=None) if each.model == "solar-mini4" else each for each in ledger_of(calls)]
    result = compare(ours, from_wire_export(text_of(export_of(calls)), OCTOBER))
    assert {(x.name, x.model, x.evidence) for x in result.findings} == {
        ("unknown", "solar-mini4", "no rate card says what upstream takes for it")
    }


def test_a_snapshots_name_is_that_of_its_model() -> None:
    calls = [Call(FIRST, "key-a", "solar-pro4", (1000, 10, 100, 0, 0))]
    (row,) = export_of(calls, 12)
    export = from_wire_export(text_of([{**row, "model": "solar-pro4-260806"}]), OCTOBER)
    assert compare(ledger_of(calls), export, {"solar-pro4-260806": "solar-pro4"}).findings == ()
    assert compare(ledger_of(calls), export).findings != ()


@pytest.mark.parametrize("cost", ["0.000432", "0.00043", "0.0004", "0"])
def test_the_residue_is_less_than_a_unit_of_the_last_place(cost: str) -> None:
    calls = [Call(FIRST, "key-a", "solar-pro4", (1000, 200, 100, 0, 0))]
    (row,) = export_of(calls, 12)
    result = compare(ledger_of(calls), from_wire_export(text_of([{**row, "cost_usd": Decimal(cost)}]), OCTOBER))
    assert result.findings == ()
    assert 0 <= -result.residue_usd < result.residue_usd_max


def test_a_month_of_nothing_agrees() -> None:
    assert to_wire_compared(compare([], UsageExport(())))["agrees"]
