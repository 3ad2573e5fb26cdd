"""What Solar would refuse by name is taken out and named; the rest stays, and a body that needs no change is the very same object."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.errors import InvalidRequest
from gateway.meter.endpoint import CHAT, EMBEDDINGS, MESSAGES, RESPONSES, Endpoint
from gateway.meter.request import read_request
from gateway.meter.sanitize import sanitize

TOOL = {"type": "function", "function": {"name": "f", "parameters": {"a": [1.5, "한"]}}}
STRICT = {"type": "function", "function": {**TOOL["function"], "strict": True}}  # type: ignore[dict-item]
USER = {"role": "user", "content": '"store" "tools" "strict" "developer"'}


def changed(endpoint: Endpoint, fields: dict[str, Any], model: str = "solar-pro4") -> tuple[dict[str, Any], list[str]]:
    """(what goes upstream, what was named)."""
    body = json.dumps({"model": model, **fields}, ensure_ascii=False).encode()
    looked_at = endpoint.markers.search(body) is not None
    out, names = sanitize(endpoint.rules, body, model) if looked_at else (body, ())
    assert (out is body) == (not names)
    decoded: dict[str, Any] = json.loads(out)
    assert decoded.pop("model") == model
    return decoded, list(names)


CASES: dict[str, tuple[Endpoint, dict[str, Any], dict[str, Any], list[str]]] = {
    "chat: store, false or true": (CHAT, {"store": True, "x": 1}, {"x": 1}, ["store"]),
    "chat: bookkeeping": (
        CHAT,
        {"metadata": {}, "service_tier": "auto", "user": "u", "safety_identifier": "s"},
        {},
        ["metadata", "service_tier", "user", "safety_identifier"],
    ),
    "chat: empty tools": (CHAT, {"tools": []}, {}, ["tools"]),
    "chat: strict, also false": (CHAT, {"tools": [STRICT, TOOL]}, {"tools": [TOOL, TOOL]}, ["tools.function.strict"]),
    "chat: strict in a schema's properties is a name": (
        CHAT,
        {"tools": [{"type": "function", "function": {"name": "f", "parameters": {"strict": 1}}}]},
        {"tools": [{"type": "function", "function": {"name": "f", "parameters": {"strict": 1}}}]},
        [],
    ),
    "chat: developer": (
        CHAT,
        {"messages": [{"role": "developer", "content": "a"}, USER]},
        {"messages": [{"role": "system", "content": "a"}, USER]},
        ["messages.role"],
    ),
    "chat: words inside a message are no fields": (CHAT, {"messages": [USER]}, {"messages": [USER]}, []),
    "chat: what has a meaning stays": (
        CHAT,
        {"seed": 1, "logit_bias": {}, "n": 2},
        {"seed": 1, "logit_bias": {}, "n": 2},
        [],
    ),
    "responses: store false means what Solar does": (RESPONSES, {"store": False}, {}, ["store"]),
    "responses: store true is refused by Solar": (RESPONSES, {"store": True}, {"store": True}, []),
    "responses: lax, so nothing else is touched": (
        RESPONSES,
        {"metadata": {"a": 1}, "user": "u"},
        {"metadata": {"a": 1}, "user": "u"},
        [],
    ),
    "responses: empty tools": (RESPONSES, {"tools": []}, {}, ["tools"]),
    "messages: bookkeeping": (
        MESSAGES,
        {"metadata": {"user_id": "u"}, "service_tier": "auto"},
        {},
        ["metadata", "service_tier"],
    ),
    "messages: the effort of chat is none of its fields": (
        MESSAGES,
        {"reasoning_effort": "max"},
        {"reasoning_effort": "max"},
        [],
    ),
    "embeddings: nothing": (
        EMBEDDINGS,
        {"store": True, "user": "u", "tools": []},
        {"store": True, "user": "u", "tools": []},
        [],
    ),
    "chat: fields of the wrong kind are left for Solar": (
        CHAT,
        {"tools": "strict", "messages": {"role": "developer"}, "reasoning_effort": 7},
        {"tools": "strict", "messages": {"role": "developer"}, "reasoning_effort": 7},
        [],
    ),
    "chat: items of the wrong kind are left for Solar": (
        CHAT,
        {"tools": [1, {"function": "strict"}, {}], "messages": [None, {"role": ["developer"]}]},
        {"tools": [1, {"function": "strict"}, {}], "messages": [None, {"role": ["developer"]}]},
        [],
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_each_rule_changes_what_it_names_and_nothing_else(name: str) -> None:
    endpoint, fields, expected, names = CASES[name]
    assert changed(endpoint, fields) == (expected, names)


@pytest.mark.parametrize(
    ("model", "asked", "sent"),
    [
        ("solar-pro4", "xhigh", "xhigh"),
        ("solar-pro4-260806", "max", "max"),
        ("solar-mini4", "none", "none"),
        ("solar-pro3", "none", "minimal"),
        ("solar-pro3-260323", "xhigh", "high"),
        ("solar-pro3", "max", "high"),
        ("solar-pro3", "low", "low"),
        ("solar-pro2", "max", "high"),
        ("solar-mini", "high", None),
        ("solar-mini-250422", "none", None),
        ("syn-pro", "low", None),
        ("solar-next", "xhigh", "xhigh"),  # a model that nobody knows here is not second-guessed
        ("solar-pro4", "extreme", "extreme"),  # a name that nobody knows is left for Solar to refuse
        ("solar-mini", "extreme", None),
    ],
)
def test_an_effort_is_clamped_to_the_names_of_the_model(model: str, asked: str, sent: str | None) -> None:
    fields, names = changed(CHAT, {"reasoning_effort": asked}, model)
    assert fields.get("reasoning_effort") == sent
    assert names == ([] if asked == sent else ["reasoning_effort"])


@pytest.mark.parametrize(("model", "kept"), [("solar-pro4", True), ("solar-mini", False)])
def test_an_effort_of_null_is_kept_where_the_model_knows_efforts(model: str, kept: bool) -> None:
    fields, names = changed(CHAT, {"reasoning_effort": None}, model)
    assert fields == ({"reasoning_effort": None} if kept else {})
    assert names == ([] if kept else ["reasoning_effort"])


leaves = st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.text(max_size=9)
values = st.recursive(
    leaves, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
)
fields = st.dictionaries(
    st.sampled_from(["store", "tools", "user", "messages", "x", "input", "stop"]), values, max_size=5
)


@settings(max_examples=120)
@given(st.sampled_from([CHAT, RESPONSES, MESSAGES, EMBEDDINGS]), fields)
def test_what_goes_upstream_is_what_came_but_for_what_is_named(
    endpoint: Endpoint, given_fields: dict[str, Any]
) -> None:
    sent, names = changed(endpoint, given_fields)
    inner = {"messages.role": "messages", "tools.function.strict": "tools"}
    touched = {inner.get(name, name) for name in names}
    untouched = {name: value for name, value in given_fields.items() if name not in touched}
    assert {name: value for name, value in sent.items() if name not in touched} == untouched
    assert not touched - set(given_fields)


@settings(max_examples=60)
@given(st.dictionaries(st.text(alphabet="abcxyz", max_size=6), values, max_size=4), st.booleans())
def test_a_body_without_any_marker_is_the_very_same_object(given_fields: dict[str, Any], ascii_only: bool) -> None:
    names = {
        "store",
        "metadata",
        "service_tier",
        "user",
        "safety_identifier",
        "tools",
        "strict",
        "developer",
        "reasoning_effort",
    }
    body = json.dumps({**given_fields, "model": "solar-pro4", "stream": False}, ensure_ascii=ascii_only).encode()
    if not any(f'"{name}"'.encode() in body for name in names):
        for endpoint in (CHAT, RESPONSES, MESSAGES):
            assert read_request(endpoint, body).body is body


def test_a_field_spelled_with_escapes_is_left_for_solar_and_never_hides_a_model() -> None:
    body = b'{"model":"solar-mini","st\\u006fre":true,"mod\\u0065l":"solar-pro4"}'
    ask = read_request(CHAT, body)
    assert (ask.model, ask.body) == ("solar-pro4", body)


@pytest.mark.parametrize(
    "messages",
    [b'[{"role":"developer","content":"\\ud800"}]', b'[{"role":"developer","content":1e999}]', b'["\xff","developer"]'],
)
def test_what_cannot_be_read_where_it_must_be_changed_is_a_refusal(messages: bytes) -> None:
    with pytest.raises(InvalidRequest):
        read_request(CHAT, b'{"model":"m","messages":%b}' % messages)


def test_numbers_and_texts_beside_a_change_stay_what_they_are() -> None:
    body = '{"model":"solar-pro4","store":false,"temperature":1.0e0,"seed":12345678901234567890,"x":"\\u00e9é/\\/"}'.encode()
    out = read_request(CHAT, body).body
    assert b'"temperature":1.0e0' in out
    assert b'"seed":12345678901234567890' in out
    assert msgspec.json.decode(out)["x"] == "éé//"
