"""What a door owes to HTTP: keep-alive, pipelining, `Expect`, chunked bodies, hang-ups, and answers byte for byte. Over both doors."""

from __future__ import annotations

import json
import socket
from urllib.parse import urlsplit

import httpx
import pytest

from tests.running import Gateway
from tests.waiting import wait_until

BODY = json.dumps({"model": "solar-pro4", "messages": [{"role": "user", "content": "안녕?"}]}).encode()


@pytest.fixture
def gateway(either_door: Gateway) -> Gateway:
    """Every test here runs over both doors."""
    return either_door


def dial(gateway: Gateway) -> socket.socket:
    address = urlsplit(gateway.url)
    connection = socket.create_connection((address.hostname, address.port), timeout=20)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def head(secret: str, *lines: str, body: bytes = BODY) -> bytes:
    fields = ["POST /v1/chat/completions HTTP/1.1", "host: x", f"authorization: Bearer {secret}", *lines]
    if not any(line.startswith("transfer-encoding") for line in lines):
        fields.append(f"content-length: {len(body)}")
    return ("\r\n".join(fields) + "\r\n\r\n").encode()


def read_answers(connection: socket.socket, count: int) -> list[tuple[int, bytes]]:
    """So many whole answers with a content-length, off one connection."""
    data = b""
    answers: list[tuple[int, bytes]] = []
    while len(answers) < count:
        piece = connection.recv(65536)
        assert piece, f"closed after {len(answers)} of {count} answers: {data!r}"
        data += piece
        while b"\r\n\r\n" in data:
            raw, rest = data.split(b"\r\n\r\n", 1)
            fields = dict(line.split(b": ", 1) for line in raw.split(b"\r\n")[1:])
            size = int(fields[b"content-length"])
            if len(rest) < size:
                break
            answers.append((int(raw[9:12]), rest[:size]))
            data = rest[size:]
    return answers


def test_one_connection_carries_many_calls_even_sent_all_at_once_and_in_order(gateway: Gateway) -> None:
    secret = gateway.new_key()
    with dial(gateway) as connection:
        models = f"GET /v1/models HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {secret}\r\n\r\n".encode()
        call = head(secret) + BODY
        connection.sendall(call + models + call + head("sk-solar-wrong") + BODY + call)
        answers = read_answers(connection, 5)
    assert [status for status, _ in answers] == [200, 200, 200, 401, 200]
    assert b'"object":"list"' in answers[1][1]
    assert answers[0][1] == answers[2][1] == answers[4][1]


def test_a_body_that_comes_in_pieces_chunked_and_after_a_100_is_read_whole(gateway: Gateway) -> None:
    secret = gateway.new_key()
    with dial(gateway) as connection:
        connection.sendall(head(secret, "transfer-encoding: chunked"))
        for at in range(0, len(BODY), 7):
            piece = BODY[at : at + 7]
            connection.sendall(b"%x\r\n%b\r\n" % (len(piece), piece))
        connection.sendall(b"0\r\n\r\n")
        assert read_answers(connection, 1)[0][0] == 200
        connection.sendall(head(secret, "expect: 100-continue"))
        assert connection.recv(65536) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(BODY)
        assert read_answers(connection, 1)[0][0] == 200


def test_a_connection_that_the_client_wants_closed_is_closed_after_the_answer(gateway: Gateway) -> None:
    with dial(gateway) as connection:
        connection.sendall(head(gateway.new_key(), "connection: close") + BODY)
        data = b""
        while piece := connection.recv(65536):
            data += piece
    assert data.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"\r\nconnection: close\r\n" in data


def test_what_upstream_answers_reaches_the_client_byte_for_byte(gateway: Gateway) -> None:
    direct = httpx.post(
        f"{gateway.addresses['solar_url']}/chat/completions",
        content=BODY,
        headers={"authorization": "Bearer up_sandbox"},
        trust_env=False,
    )
    with gateway.caller(gateway.new_key()) as caller:
        through = caller.post("/chat/completions", content=BODY)
        stream = json.dumps({**json.loads(BODY), "stream": True}).encode()
        events = caller.post("/chat/completions", content=stream).content
    straight = httpx.post(
        f"{gateway.addresses['solar_url']}/chat/completions",
        content=stream,
        headers={"authorization": "Bearer up_sandbox"},
        trust_env=False,
    )
    assert through.content == direct.content
    assert events == straight.content
    assert "server" not in through.headers
    assert not [name for name in through.headers if "upstage" in name]


def test_a_whole_answer_whose_client_hangs_up_is_read_to_its_end_and_counted_exactly(gateway: Gateway) -> None:
    secret = gateway.new_key()
    text = "[[sim: delay_ms=1500 tokens=31]]"
    body = json.dumps({"model": "solar-pro4", "messages": [{"role": "user", "content": text}]}).encode()
    with dial(gateway) as connection:
        connection.sendall(head(secret, body=body) + body)
        wait_until(lambda: gateway.in_flight() > 0, 10, "upstream has the call")
    with gateway.caller(secret) as caller:
        usage = wait_until(
            lambda: (found := caller.get("/usage").json()["total"])["calls"] and found, 10, "the call is in the ledger"
        )
    assert (usage["calls"], usage["output_tokens"], usage["estimated_calls"]) == (1, 31, 0)


def test_a_stream_whose_client_hangs_up_is_cut_upstream_at_once_and_charged_as_an_estimate(gateway: Gateway) -> None:
    account = gateway.account(monthly_cap="1.00")
    secret = gateway.key(account["id"])
    text = f"[[sim: id=gone-{account['id'][-12:]} tokens=500 pace_ms=20]]"
    body = {"model": "solar-pro4", "stream": True, "messages": [{"role": "user", "content": text}]}
    with gateway.caller(secret) as caller:
        with caller.stream("POST", "/chat/completions", json=body) as answer:
            for seen, _ in enumerate(answer.iter_lines()):
                if seen > 20:
                    break
        total = wait_until(
            lambda: (found := caller.get("/usage").json()["total"])["calls"] and found, 10, "the call is in the ledger"
        )
        held = caller.get("/account").json()["month_to_date"]["held"]
    record = next(row for row in gateway.truth() if row["id"] == f"gone-{account['id'][-12:]}")
    assert record["outcome"] == "client_gone"
    assert record["completion_tokens"] < 200
    assert total["estimated_calls"] == 1
    assert 5 <= total["output_tokens"] <= record["completion_tokens"] + 3
    assert held == "0.000000000"
