"""Directives do what they say, over real HTTP: faults, pauses, cuts; and the ground truth knows of each."""

import contextlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
from typing import Any

import httpx
import pytest

from tests.gateway.sandbox.conftest import KEY, Solar, start_solar, stop_solar


def _events(body: str) -> list[str]:
    return [block for block in body.split("\n\n") if block]


def _stream_text(solar: Solar, words: str) -> str:
    return solar.chat(f"hello [[sim: {words}]]", stream=True, stream_options={"include_usage": True}).text


def test_tokens_reasoning_and_cached_are_exact_and_max_tokens_still_cuts(solar: Solar) -> None:
    usage = solar.chat("안녕 [[sim: tokens=40 reasoning=10 cached=12]]").json()["usage"]
    assert usage["completion_tokens"] == 50
    assert usage["completion_tokens_details"] == {"reasoning_tokens": 10}
    assert usage["prompt_tokens_details"] == {"cached_tokens": 12}
    choice = solar.chat("안녕 [[sim: tokens=40 reasoning=10]]", max_tokens=8).json()["choices"][0]
    assert (choice["message"]["content"], choice["finish_reason"]) == (None, "length")


def test_an_error_comes_with_its_status_code_and_retry_time(solar: Solar) -> None:
    reply = solar.chat("[[sim: error=429:usage_limit_exceeded retry_after_s=7 id=e1]]")
    assert (reply.status_code, reply.json()["error"]["code"]) == (429, "usage_limit_exceeded")
    at_s = int(reply.headers["x-upstage-ratelimit-retry-after-tokens"])
    assert 5 <= at_s - time.time() <= 8
    bare = solar.chat("[[sim: error=503]]")
    assert (bare.status_code, bare.content) == (503, b"")
    assert [(row["id"], row["outcome"], row["code"]) for row in solar.truth()] == [
        ("e1", "refused", "usage_limit_exceeded"),
        ("", "refused", None),
    ]
    assert all(row["total_tokens"] == 0 for row in solar.truth())


def test_an_error_can_be_given_to_the_first_tries_only(solar: Solar) -> None:
    statuses = [solar.chat("[[sim: error=500 error_times=2 id=retry]]").status_code for _ in range(4)]
    assert statuses == [500, 500, 200, 200]


def test_delay_comes_before_the_headers_and_pace_between_events(solar: Solar) -> None:
    started = time.monotonic()
    with solar.http.stream(
        "POST", "/v1/chat/completions", json=_chat_body("delay_ms=150 pace_ms=20 tokens=5")
    ) as reply:
        assert time.monotonic() - started >= 0.15
        reply.read()
    assert time.monotonic() - started >= 0.15 + 7 * 0.02


def test_a_stall_is_a_silence_in_mid_stream(solar: Solar) -> None:
    started = time.monotonic()
    assert _events(_stream_text(solar, "stall_after=3:200 tokens=5"))[-1] == "data: [DONE]"
    assert time.monotonic() - started >= 0.2


def _chat_body(words: str) -> dict[str, Any]:
    messages = [{"role": "user", "content": f"hello [[sim: {words}]]"}]
    return {"model": "solar-pro4", "messages": messages, "stream": True}


@pytest.mark.parametrize("stream", [False, True])
def test_a_cut_ends_the_connection_before_the_answer_does(solar: Solar, stream: bool) -> None:
    with pytest.raises(httpx.RemoteProtocolError):
        solar.chat("hello [[sim: cut_after=3 tokens=9]]", stream=stream)
    [row] = solar.truth()
    assert (row["outcome"], row["usage_sent"], row["events_sent"]) == ("cut", False, 3 if stream else 0)
    assert row["completion_tokens"] == (2 if stream else 9)  # the role chunk holds no token


def test_a_drop_closes_without_any_answer(solar: Solar) -> None:
    with pytest.raises((httpx.RemoteProtocolError, httpx.ReadError)):
        solar.chat("hello [[sim: drop=1]]")
    assert [row["outcome"] for row in solar.truth()] == ["cut"]


def test_an_error_event_ends_a_stream_without_done(solar: Solar) -> None:
    events = _events(_stream_text(solar, "error=500:server_error error_after=2"))
    assert json.loads(events[-1].removeprefix("data: "))["error"]["code"] == "server_error"
    assert len(events) == 3
    assert [(row["outcome"], row["status"]) for row in solar.truth()] == [("cut", 200)]


def test_malformed_events_comments_and_a_missing_end_are_given_on_request(solar: Solar) -> None:
    plain = _events(_stream_text(solar, "tokens=4"))
    odd = _events(_stream_text(solar, "tokens=4 malformed_after=2 keepalive=3 no_done=1"))
    assert odd.count(": keep-alive") == 3
    broken = [event for event in odd if event.startswith("data: ") and not _is_json(event)]
    assert len(broken) == 1
    assert "data: [DONE]" not in odd
    assert len(odd) == len(plain) - 1 + 3 + 1


def _is_json(event: str) -> bool:
    try:
        json.loads(event.removeprefix("data: "))
    except json.JSONDecodeError:
        return False
    return True


def test_usage_can_be_left_out_or_moved_to_the_finish_chunk(solar: Solar) -> None:
    assert '"usage"' not in _stream_text(solar, "no_usage=1")
    assert "usage" not in solar.chat("[[sim: no_usage=1]]").json()
    finish = json.loads(_events(_stream_text(solar, "usage_on=finish"))[-2].removeprefix("data: "))
    assert finish["choices"][0]["finish_reason"] == "stop"
    assert finish["usage"]["total_tokens"] > 0
    assert [row["usage_sent"] for row in solar.truth()] == [False, False, True]


def test_chunks_of_few_bytes_make_the_same_stream(solar: Solar) -> None:
    body = _chat_body("tokens=6")
    pieces: list[bytes] = []
    headers = {"x-sim": "chunk_bytes=3"}
    with solar.http.stream("POST", "/v1/chat/completions", json=body, headers=headers) as reply:
        pieces.extend(reply.iter_raw())
    assert b"".join(pieces) == solar.post("/v1/chat/completions", body).content
    assert any(len(piece) == 3 for piece in pieces)
    batched = solar.post("/v1/chat/completions", body, x_sim="batch=5")
    assert batched.content == b"".join(pieces)
    assert [row["events_sent"] for row in solar.truth()] == [8, 8, 8]


def test_a_hang_up_stops_the_stream_and_is_on_record(solar: Solar) -> None:
    with solar.http.stream("POST", "/v1/chat/completions", json=_chat_body("pace_ms=10 tokens=500 id=gone")) as reply:
        lines = reply.iter_lines()
        for _ in range(6):
            next(lines)
    rows: list[dict[str, Any]] = []
    deadline_s = time.monotonic() + 5
    while not rows and time.monotonic() < deadline_s:
        rows = solar.truth()
    [row] = rows
    assert (row["id"], row["outcome"], row["usage_sent"]) == ("gone", "client_gone", False)
    assert 1 <= row["completion_tokens"] < 100


def test_later_tool_deltas_can_carry_an_empty_name(solar: Solar) -> None:
    tools = [{"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}]
    chunks = solar.stream("use the tool [[sim: empty_tool_name=1]]", tools=tools)
    calls = [
        call for chunk in chunks if chunk["choices"] for call in chunk["choices"][0]["delta"].get("tool_calls", [])
    ]
    assert calls[0]["function"]["name"] == "look"
    assert {call["function"]["name"] for call in calls[1:]} == {""}


def test_sigterm_ends_it_with_code_0_even_with_a_stream_open() -> None:
    solar = start_solar()
    with socket.create_connection(("127.0.0.1", solar.port)) as client:
        body = json.dumps(_chat_body("pace_ms=1000 tokens=100")).encode()
        head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {KEY}\r\ncontent-length: {len(body)}\r\n\r\n"
        client.sendall(head.encode() + body)
        assert client.recv(100).startswith(b"HTTP/1.1 200")
        assert stop_solar(solar) == 0


def test_it_ends_with_its_parent() -> None:
    code = (
        "import subprocess, sys\n"
        "p = subprocess.Popen([sys.executable, '-m', 'gateway.sandbox.solar'], stdout=subprocess.PIPE)\n"
        "print(p.pid, p.stdout.readline().decode(), flush=True)\n"
        "sys.stdin.read()\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert parent.stdout is not None
    assert parent.stdin is not None
    pid = int(parent.stdout.readline().split()[0])
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    parent.stdout.close()
    parent.stdin.close()
    with contextlib.suppress(ProcessLookupError):  # it can be gone before we look
        ended_fd = os.pidfd_open(pid)
        assert select.select([ended_fd], [], [], 5)[0]
        os.close(ended_fd)
