"""The audit of chaos finds what it must: planted losses, doubles, differences; and it excuses only what is excused."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from tests.chaos.audit import Entry, Verdict, judged
from tests.chaos.load import Client, Plan, Told

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
CALL_ID = UUID(int=7)
PLAN = Plan("s-0-0", 10, 2, "", streamed=True, keyed=False, usage_wanted=False, hangs_up_after_bytes=None)
RECORD = {"id": "s-0-0", "prompt_tokens": 30, "cached_tokens": 2, "completion_tokens": 10, "outcome": "served"}
ENTRY = Entry(CALL_ID, "key_0", NOW + timedelta(milliseconds=5), 28, 2, 10, None)
GUESS = replace(ENTRY, call_id=UUID(int=8), estimated_reason="worker lost", output_tokens=7)


def told(**fields: Any) -> Told:
    begun_ns = int(NOW.timestamp()) * 1_000_000_000
    return Told(**{"plan": PLAN, "begun_ns": begun_ns, "call_id": str(CALL_ID), "status": 200, "whole": True, **fields})


def audit(
    entries: list[Entry], records: list[dict[str, Any]], *, spoiled: bool = False, call: Told | None = None
) -> Verdict:
    client = Client(0, "key_0", "sk-solar-x", [call or told()])
    return judged([client], records, entries, {"s-0-0"} if spoiled else set())


def faults(verdict: Verdict) -> tuple[int, int, int]:
    return len(verdict.lost), len(verdict.doubled), len(verdict.differing)


def test_a_call_that_is_right_is_clean() -> None:
    verdict = audit([ENTRY], [RECORD])
    assert faults(verdict) == (0, 0, 0)
    assert (verdict.servings, verdict.exact, verdict.unheard, verdict.unserved) == (1, 1, 0, 0)


def test_a_serving_without_an_entry_is_lost_unless_the_wire_to_upstream_broke() -> None:
    unanswered = told(whole=False, call_id=None)
    assert faults(audit([], [RECORD], call=unanswered)) == (1, 0, 0)
    excused = audit([], [RECORD], call=unanswered, spoiled=True)
    assert (faults(excused), excused.unheard) == ((0, 0, 0), 1)
    assert faults(audit([], [RECORD], spoiled=True)) == (1, 0, 0), "a client that has the answer is proof of a loss"


def test_another_attempt_of_a_keyed_call_is_the_same_call_and_only_as_often_as_its_entry_says() -> None:
    keyed = told(plan=replace(PLAN, keyed=True))
    again = replace(ENTRY, attempts=2)
    verdict = audit([again], [RECORD, RECORD], call=keyed)
    assert (faults(verdict), verdict.merged) == ((0, 0, 0), 1)
    assert faults(audit([again], [RECORD, RECORD, RECORD], call=keyed)) == (1, 0, 0)
    assert faults(audit([again], [RECORD, RECORD])) == (1, 0, 0), "without a key there is nothing to merge by"


def test_two_entries_for_one_serving_are_a_double_by_id_or_by_count() -> None:
    assert faults(audit([ENTRY, ENTRY], [RECORD]))[1] >= 1
    assert faults(audit([ENTRY, replace(ENTRY, call_id=UUID(int=9))], [RECORD]))[1] == 1
    assert faults(audit([ENTRY, replace(ENTRY, call_id=UUID(int=9))], [RECORD, RECORD])) == (0, 0, 0)


def test_one_token_of_difference_in_any_count_is_found() -> None:
    for field in ("input_tokens", "cached_tokens", "output_tokens"):
        wrong = replace(ENTRY, **{field: getattr(ENTRY, field) + 1})
        assert faults(audit([wrong], [RECORD])) == (0, 0, 1)


def test_an_estimate_is_measured_against_what_upstream_served_and_has_a_bound() -> None:
    gone = {**RECORD, "outcome": "client_gone", "completion_tokens": 12}
    verdict = audit([GUESS], [gone], call=told(whole=False))
    assert (verdict.estimate_error_tokens, verdict.estimate_true_tokens) == (5, 42)
    assert (faults(verdict), dict(verdict.estimated)) == ((0, 0, 0), {"worker lost": 1})
    assert audit([replace(GUESS, output_tokens=201)], [gone]).beyond_bound
    assert audit([GUESS], [], call=told(whole=False)).unserved == 1


def test_an_entry_belongs_to_the_call_in_whose_time_it_was_accepted() -> None:
    second = told(plan=replace(PLAN, label="s-0-1"), begun_ns=told().begun_ns + 1_000_000_000, call_id=str(UUID(int=9)))
    client = Client(0, "key_0", "sk-solar-x", [told(), second])
    late = replace(ENTRY, call_id=UUID(int=9), accepted_at=NOW + timedelta(seconds=2))
    records = [RECORD, {**RECORD, "id": "s-0-1"}]
    assert faults(judged([client], records, [late, ENTRY], set())) == (0, 0, 0)
    assert faults(judged([client], records[:1], [late, ENTRY], set()))[1] == 1
