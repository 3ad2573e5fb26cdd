"""The audit of chaos finds what it must: planted losses, doubles, differences; and it excuses only what is excused."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from tests.chaos.audit import Entry, Verdict, judged
from tests.chaos.blame import Blame, of_unknown_keys
from tests.chaos.faults import Struck
from tests.chaos.load import Attempt, Client, Plan, Told

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
CALL_ID = UUID(int=7)
PLAN = Plan("s-0-0", 10, 2, "", streamed=True, keyed=False, usage_wanted=False, hangs_up_after_bytes=None)
RECORD = {
    "id": "s-0-0",
    "prompt_tokens": 30,
    "cached_tokens": 2,
    "completion_tokens": 10,
    "outcome": "served",
    "usage_sent": True,
}
ENTRY = Entry(CALL_ID, "key_0", NOW + timedelta(milliseconds=5), 28, 2, 10, None)
GUESS = replace(ENTRY, call_id=UUID(int=8), estimated_reason="worker lost", output_tokens=7)


def told(**fields: Any) -> Told:
    begun_ns = int(NOW.timestamp()) * 1_000_000_000
    return Told(**{"plan": PLAN, "begun_ns": begun_ns, "call_id": str(CALL_ID), "status": 200, "whole": True, **fields})


def audit(
    entries: list[Entry],
    records: list[dict[str, Any]],
    *,
    spoiled: bool = False,
    call: Told | None = None,
    faults: tuple[Struck, ...] = (),
) -> Verdict:
    client = Client(0, "key_0", "sk-solar-x", [call or told()])
    return judged([client], records, entries, {"s-0-0"} if spoiled else set(), Blame(faults))


def struck(kind: str, from_s: float, until_s: float) -> Struck:
    """A fault at work from so long after the call was begun."""
    begun_ns = told().begun_ns
    return Struck(0, kind, 1, 1, begun_ns + int(from_s * 1e9), begun_ns + int(until_s * 1e9))


def attempt(from_s: float, until_s: float, **fields: Any) -> Attempt:
    begun_ns = told().begun_ns
    return Attempt(begun_ns + int(from_s * 1e9), begun_ns + int(until_s * 1e9), **fields)


def keyed(*attempts: Attempt) -> Told:
    plan = replace(PLAN, keyed=True)
    return told(plan=plan, tries=list(attempts), attempts=len(attempts), ended_ns=attempts[-1].ended_ns)


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


def test_another_attempt_of_a_keyed_call_is_the_same_call_and_only_as_often_as_its_entry_says_and_workers_died() -> (
    None
):
    call = keyed(attempt(0, 1), attempt(2, 3))
    again, death = replace(ENTRY, attempts=2), struck("kill worker", 1, 1)
    verdict = audit([again], [RECORD, RECORD], call=call, faults=(death,))
    assert (faults(verdict), verdict.merged) == ((0, 0, 0), 1)
    assert faults(audit([again], [RECORD, RECORD, RECORD], call=call, faults=(death, death))) == (1, 0, 0)
    assert faults(audit([again], [RECORD, RECORD], call=call)) == (1, 0, 0), "nobody died: who attempted it again?"
    assert faults(audit([again], [RECORD, RECORD], call=call, faults=(struck("kill redis", 1, 1),))) == (1, 0, 0)
    assert faults(audit([again], [RECORD, RECORD], faults=(death,))) == (1, 0, 0), (
        "without a key there is nothing to merge"
    )


TWICE = [ENTRY, replace(ENTRY, call_id=UUID(int=9))]


def test_a_key_that_is_charged_twice_through_one_fault_is_a_double() -> None:
    call = keyed(attempt(0, 1, code="ReadError"), attempt(2, 3))
    one_by_one = (struck("kill redis", 0.5, 1.2), struck("kill worker", 1.3, 1.3))
    for done in ((), one_by_one, (struck("pause redis", 0, 3),), (struck("kill redis + kill worker", 5, 6),)):
        verdict = audit(TWICE, [RECORD, RECORD], call=call, faults=done)
        assert (faults(verdict), verdict.keyed_twice) == ((0, 1, 0), []), done
    assert faults(audit([ENTRY, replace(GUESS, call_id=UUID(int=9))], [RECORD, RECORD], call=call)) == (0, 1, 0)


def test_a_key_that_is_charged_twice_through_two_faults_at_once_is_counted_apart_and_bounded() -> None:
    call = keyed(attempt(0, 1, code="ReadError"), attempt(2, 3))
    at_once = (struck("kill redis", 0.5, 1.4), struck("kill worker", 1.3, 1.3))
    for done in (at_once, (struck("fail over redis + kill worker", 1, 1.5),), (struck("fill disk", 1, 2),)):
        verdict = audit(TWICE, [RECORD, RECORD], call=call, faults=done)
        assert (faults(verdict), len(verdict.keyed_twice), verdict.keyed_twice_max) == ((0, 0, 0), 1, 1), done


def test_a_loss_is_excused_only_where_a_worker_and_redis_forgot_it_together() -> None:
    call = told(whole=False, call_id=None, ended_ns=told().begun_ns + 10**9)
    for kind in ("kill worker + fail over redis", "kill redis + kill worker", "fill disk + kill worker"):
        verdict = audit([], [RECORD], call=call, faults=(struck(kind, 2, 3),))
        assert (faults(verdict), len(verdict.lost_by_two), verdict.lost_by_two_max) == ((0, 0, 0), 1, 1), kind
        assert faults(audit([], [RECORD], call=call, faults=(struck(kind, 4, 5),))) == (1, 0, 0), "long after it"
    for kind in ("kill jobs + kill redis", "kill worker + kill postgres", "kill worker + pause redis", "kill worker"):
        assert faults(audit([], [RECORD], call=call, faults=(struck(kind, 0, 1),))) == (1, 0, 0), kind


def test_a_refusal_because_a_store_is_away_needs_a_store_that_is_and_the_right_one() -> None:
    postgres, redis = Blame((struck("kill postgres", 1, 2),)), Blame((struck("kill redis", 1, 2),))
    refused, before = attempt(1.5, 1.6), attempt(0, 0.5)
    assert postgres.explains_refusal(refused, key_was_unknown=True)
    assert not redis.explains_refusal(refused, key_was_unknown=True)
    assert redis.explains_refusal(refused, key_was_unknown=False)
    assert not postgres.explains_refusal(before, key_was_unknown=True)
    assert not Blame((struck("pause worker", 1, 2),)).explains_refusal(refused, key_was_unknown=False)
    log = b'{"call_id":"a","code":"service_unavailable","key_id":null}\n{"call_id":"b","code":"service_unavailable","key_id":"k"}'
    assert of_unknown_keys(log, ["a", "b", "c"]) == {"a"}


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
    assert faults(audit([ENTRY], [{**RECORD, "outcome": "client_gone"}])) == (0, 0, 0), "its usage came all the same"
    assert faults(audit([ENTRY], [{**RECORD, "outcome": "client_gone", "usage_sent": False}])) == (1, 1, 0)


def test_an_entry_belongs_to_the_call_in_whose_time_it_was_accepted() -> None:
    second = told(plan=replace(PLAN, label="s-0-1"), begun_ns=told().begun_ns + 1_000_000_000, call_id=str(UUID(int=9)))
    client = Client(0, "key_0", "sk-solar-x", [told(), second])
    late = replace(ENTRY, call_id=UUID(int=9), accepted_at=NOW + timedelta(seconds=2))
    records = [RECORD, {**RECORD, "id": "s-0-1"}]
    assert faults(judged([client], records, [late, ENTRY], set(), Blame(()))) == (0, 0, 0)
    assert faults(judged([client], records[:1], [late, ENTRY], set(), Blame(())))[1] == 1
