"""One total deadline for a call, whatever the server does: silence, trickles, retries, a stream that never ends."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

import solar_sdk
from solar_sdk import AsyncSolar, Solar
from solar_sdk.core.deadline import Deadline

from .answers import TALE, event
from .conftest import KEY
from .true_server import HEADERS, Act, Fault, Slowly, TrueServer, error, framed, head, stream

TIMEOUT_S = 0.3
SLACK_S = 3.0  # for a busy machine; what is tested here would otherwise go on for ever
LATE_TIMEOUT_S = 1.0
LATE_SLACK_S = 0.6
HEAD = head(200, {**HEADERS, "content-length": "1000"})
FLOOD = Slowly((framed(b": waiting\n\n" * 1_000),), 0.0, endless=True)
SLOW_EVENTS = Slowly((framed(b": waiting\n\n"),), 0.05, endless=True)

ACTS = {
    "silence before the answer": Act((Fault.HOLD,)),
    "silence after the head": Act((HEAD, Fault.HOLD)),
    "a head that trickles": Act((b"HTTP/1.1 200 OK\r\n", Slowly((b"x-a: b\r\n",), 0.05, endless=True))),
    "a body that trickles": Act((HEAD, Slowly((b" ",), 0.05, endless=True))),
}
# The last byte comes at 0.8 s: a read that then waits as long as the first one could ends at 1.8 s.
SILENCE_LATE = Act((HEAD, Slowly((b" ",) * 8, 0.1), Fault.HOLD))
FAILURE = error(503, "upstream_unavailable", {"retry-after-ms": "100"})
ENDLESS: dict[str, Fault | Slowly] = {"silence": Fault.HOLD, "slow comments": SLOW_EVENTS, "a flood of comments": FLOOD}


@contextmanager
def within_s(bound_s: float = TIMEOUT_S + SLACK_S) -> Iterator[None]:
    began_s = time.monotonic()
    yield
    assert time.monotonic() - began_s < bound_s


@pytest.mark.parametrize("act", list(ACTS.values()), ids=list(ACTS))
def test_a_call_ends_at_its_deadline(server: TrueServer, client: Solar, act: Act) -> None:
    server.play(act)
    with within_s(), pytest.raises(solar_sdk.DeadlineExceededError) as caught:
        client.chat("?", timeout_s=TIMEOUT_S)
    assert isinstance(caught.value, TimeoutError)
    assert len(server.requests) == 1, "a wait that ran out is not begun again"


@pytest.mark.parametrize("act", list(ACTS.values()), ids=list(ACTS))
async def test_an_async_call_ends_at_its_deadline(server: TrueServer, async_client: AsyncSolar, act: Act) -> None:
    server.play(act)
    with within_s(), pytest.raises(solar_sdk.DeadlineExceededError):
        await async_client.chat("?", timeout_s=TIMEOUT_S)
    assert len(server.requests) == 1


def test_retries_share_the_one_deadline(server: TrueServer) -> None:
    server.play(*[FAILURE] * 10)
    with Solar(KEY, server.base_url, max_retries=9) as client, pytest.raises(solar_sdk.UpstreamError):
        client.chat("?", timeout_s=TIMEOUT_S)
    assert 1 <= len(server.requests) <= 3, "each retry waits 0.1 s of the 0.3 s"


def test_the_last_wait_of_a_call_is_only_what_is_left(server: TrueServer, client: Solar) -> None:
    server.play(SILENCE_LATE)
    with within_s(LATE_TIMEOUT_S + LATE_SLACK_S), pytest.raises(solar_sdk.DeadlineExceededError):
        client.chat("?", timeout_s=LATE_TIMEOUT_S)


async def test_the_last_wait_of_an_async_call_is_only_what_is_left(
    server: TrueServer, async_client: AsyncSolar
) -> None:
    server.play(SILENCE_LATE)
    with within_s(LATE_TIMEOUT_S + LATE_SLACK_S), pytest.raises(solar_sdk.DeadlineExceededError):
        await async_client.chat("?", timeout_s=LATE_TIMEOUT_S)


@pytest.mark.parametrize("end", list(ENDLESS.values()), ids=list(ENDLESS))
def test_a_stream_ends_at_the_deadline_of_its_call(server: TrueServer, client: Solar, end: Fault | Slowly) -> None:
    server.play(stream(TALE[:2], end))
    with within_s():
        pieces = client.chat("?", stream=True, timeout_s=TIMEOUT_S)
        assert next(pieces) == "안녕"
        with pytest.raises(solar_sdk.DeadlineExceededError):
            next(pieces)


@pytest.mark.parametrize("end", list(ENDLESS.values()), ids=list(ENDLESS))
async def test_an_async_stream_ends_at_the_deadline_of_its_call(
    server: TrueServer, async_client: AsyncSolar, end: Fault | Slowly
) -> None:
    server.play(stream(TALE[:2], end))
    with within_s():
        pieces = await async_client.chat("?", stream=True, timeout_s=TIMEOUT_S)
        assert await anext(pieces) == "안녕"
        with pytest.raises(solar_sdk.DeadlineExceededError):
            await anext(pieces)
    assert server.saw_hang_up()


def test_an_endless_event_is_cut_off_and_not_kept(server: TrueServer, client: Solar) -> None:
    server.play(stream([b"data: " + b"x" * 17_000_000, event({})]))
    with pytest.raises(solar_sdk.StreamInterruptedError, match="larger than") as caught:
        list(client.chat("?", stream=True))
    assert caught.value.code == "malformed_event"


def test_no_single_wait_is_longer_than_what_is_left() -> None:
    now_s = 100.0
    deadline = Deadline(10.0, clock=lambda: now_s)
    assert deadline.bounded_s(None) == 10.0
    assert deadline.bounded_s(3.0) == 3.0
    now_s = 108.0
    assert deadline.bounded_s(3.0) == 2.0
    assert not deadline.passed()
    now_s = 110.0
    assert deadline.passed()
    assert 0 < deadline.bounded_s(None) <= 0.001
