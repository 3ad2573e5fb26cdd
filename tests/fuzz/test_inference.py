"""Bodies of inference calls: arbitrary JSON, valid ones with a change, streams cut into pieces of any size. Each is booked once."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from tests.running import Gateway

ASK = "[[sim: tokens=3 cached=2 reasoning=2]] 안녕?"  # exact counts: the text itself varies with the words asked
TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}, "strict": False}}
BODIES: dict[str, dict[str, Any]] = {
    "/chat/completions": {
        "model": "solar-pro4",
        "messages": [{"role": "developer", "content": "x"}, {"role": "user", "content": ASK}],
        "stream": True,
        "stream_options": {"include_usage": True},
        "max_tokens": 9,
        "n": 1,
        "tools": [TOOL],
        "store": False,
        "reasoning_effort": "low",
        "temperature": 0.5,
    },
    "/responses": {
        "model": "solar-pro4",
        "input": [{"role": "user", "content": ASK}],
        "stream": True,
        "store": False,
        "max_output_tokens": 9,
        "tools": [],
        "reasoning": {"effort": "low"},
    },
    "/messages": {
        "model": "solar-pro4",
        "messages": [{"role": "user", "content": [{"type": "text", "text": ASK}]}],
        "stream": True,
        "max_tokens": 9,
        "metadata": {"user_id": "u"},
        "tools": [],
        "system": "s",
    },
    "/embeddings": {"model": "solar-embedding-2-query", "input": ["a", "b"], "encoding_format": "float"},
    "/systemone": {
        "model": "solar-decide",
        "state": {"a": 1},
        "questions": {"q": {"type": "noul", "instructions": "?"}},
    },
}
leaves = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=9)
)
leaves |= st.sampled_from([10**30, -(2**63), "solar-mini", "\x00", "developer", "strict"])
values = st.recursive(
    leaves, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3)
)
seeded = settings(
    max_examples=40, deadline=None, database=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck)
)


@st.composite
def changed(draw: st.DrawFn, body: dict[str, Any]) -> dict[str, Any]:
    """A valid body with one to three fields replaced, taken out or added."""
    made = dict(body)
    for name in draw(
        st.lists(st.sampled_from([*body, "response_format", "tool_choice", "stop"]), min_size=1, max_size=3)
    ):
        if draw(st.integers(0, 3)) == 0:
            made.pop(name, None)
        else:
            made[name] = draw(values)
    return made


class Booked:
    """Compares what the ledger says of one key with what the simulated Solar says it served."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._before = len(gateway.truth())
        self.caller = gateway.caller(gateway.new_key())
        self.served = 0

    def check(self) -> None:
        usage = self.caller.get("/usage").json()
        truth = [record for record in self._gateway.truth()[self._before :] if record["outcome"] == "served"]
        total = usage["total"]
        assert usage["complete"] is True
        assert total["calls"] == len(truth) == self.served
        assert total["estimated_calls"] == 0
        assert total["input_tokens"] + total["cached_input_tokens"] == sum(each["prompt_tokens"] for each in truth)
        assert total["output_tokens"] == sum(each["completion_tokens"] for each in truth)


@pytest.fixture
def booked(fuzzed: Gateway) -> Iterator[Booked]:
    """At the end of each test the ledger and the truth agree."""
    both = Booked(fuzzed)
    yield both
    both.check()
    both.caller.close()


def post(booked: Booked, path: str, content: bytes) -> httpx.Response:
    """Never a 5xx, never a wait without an end; a refusal has a code, and a stream its end."""
    answer = booked.caller.post(path, content=content, headers={"content-type": "application/json"}, timeout=20)
    assert answer.status_code < 500, f"{answer.status_code} {answer.text} {content!r}"
    if answer.status_code >= 400:
        assert answer.json()["error"]["code"], content
    else:
        booked.served += 1
    return answer


@pytest.mark.parametrize("path", BODIES)
def test_a_valid_body_with_any_change_is_answered_or_refused(booked: Booked, path: str) -> None:
    @seed(20261124)
    @seeded
    @given(changed(BODIES[path]))
    def call(body: dict[str, Any]) -> None:
        post(booked, path, json.dumps(body).encode())

    call()
    post(booked, path, json.dumps(BODIES[path]).encode())
    assert booked.served >= 4


@pytest.mark.parametrize("path", BODIES)
def test_an_arbitrary_body_is_refused_with_a_code(booked: Booked, path: str) -> None:
    @seed(20261124)
    @seeded
    @given(st.binary(max_size=40) | values.map(json.dumps).map(str.encode))
    def call(content: bytes) -> None:
        assert post(booked, path, content).status_code == 400

    call()


@pytest.mark.parametrize("path", ["/chat/completions", "/responses", "/messages"])
def test_a_stream_comes_out_the_same_in_whatever_pieces_it_came(booked: Booked, path: str) -> None:
    def said(pieces: int | None) -> list[Any]:
        directive = ASK if pieces is None else ASK.replace("cached=2", f"cached=2 keepalive=2 chunk_bytes={pieces}")
        body = json.dumps(BODIES[path], ensure_ascii=False).replace(ASK, directive)
        events = [
            json.loads(line[6:])
            for line in post(booked, path, body.encode()).text.splitlines()
            if line[:7] == "data: {"
        ]
        return [_without_names(event) for event in events]

    whole = said(None)
    assert len(whole) >= 5
    assert "cost" in json.dumps(whole[-2:])

    @seed(20261124)
    @settings(seeded, max_examples=8)
    @given(st.integers(1, 400))
    def call(pieces: int) -> None:
        assert [*map(_shape, said(pieces))] == [*map(_shape, whole)]

    call()
    assert [*map(_shape, said(1))] == [*map(_shape, whole)]


def _without_names(event: Any) -> Any:
    """An event without what differs from call to call."""
    if isinstance(event, dict):
        return {
            name: _without_names(value) for name, value in event.items() if name not in ("id", "created", "item_id")
        }
    return [_without_names(value) for value in event] if isinstance(event, list) else event


def _shape(event: Any) -> list[str]:
    """Its kind and its fields: the texts of two calls need not agree."""
    return [str(event.get("type")), *sorted(event)]
