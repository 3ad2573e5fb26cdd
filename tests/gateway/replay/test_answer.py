"""A recorded answer is the answer, byte for byte, or none; and never more memory than the bounds say."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gateway.edge.wire import to_wire_error
from gateway.errors import UpstreamInterrupted, UpstreamUnavailable
from gateway.replay.answer import (
    Budget,
    KeptAnswer,
    Recording,
    failure_of,
    from_wire_answer,
    kept_failure,
    to_wire_answer,
)

HEADERS = {"content-type": "text/event-stream", "x-request-id": "call-1"}


@given(st.lists(st.binary(max_size=50), max_size=20), st.integers(min_value=0, max_value=300))
def test_an_answer_is_kept_whole_or_not_at_all(pieces: list[bytes], answer_max_bytes: int) -> None:
    budget = Budget(1000)
    recording = Recording(budget, answer_max_bytes)
    recording.start(200, HEADERS)
    for piece in pieces:
        recording.add(piece)
    body, answer = b"".join(pieces), recording.answer()
    assert (answer is None) == (len(body) > answer_max_bytes)
    if answer is not None:
        assert from_wire_answer(to_wire_answer(answer)) == KeptAnswer(200, HEADERS, body)
    recording.forget()
    recording.forget()
    assert budget.take(1000), "all memory is given back, once"


def test_all_answers_together_have_a_bound_and_what_is_given_back_can_be_used_again() -> None:
    budget = Budget(10)
    first, second = Recording(budget, 10), Recording(budget, 10)
    for recording in (first, second):
        recording.start(200, {})
    first.add(b"123456")
    second.add(b"123456")
    assert (first.answer(), second.answer()) == (KeptAnswer(200, {}, b"123456"), None)
    first.forget()
    third = Recording(budget, 10)
    third.start(200, {})
    third.add(b"1234567890")
    assert third.answer() is not None


def test_an_answer_that_never_began_is_none() -> None:
    assert Recording(Budget(10), 10).answer() is None


def test_a_kept_failure_makes_the_same_body_and_headers_again() -> None:
    for error in (UpstreamInterrupted(), UpstreamUnavailable("The model did not answer in time.", status=504)):
        again = failure_of(from_wire_answer(to_wire_answer(kept_failure(error, error.headers))))
        assert again is not None
        assert (again.status, again.code) == (error.status, error.code)
        for wire in ("openai", "anthropic"):
            assert to_wire_error(again, wire) == to_wire_error(error, wire)
    assert failure_of(KeptAnswer(200, {})) is None
