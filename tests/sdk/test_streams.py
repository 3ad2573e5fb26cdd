"""Streams: pieces as they come, the final reply, and a connection that ends however the stream ends."""

import gc
from decimal import Decimal

import httpx
import pytest

import solar_sdk
from solar_sdk import AsyncSolar, Solar, ToolCall, Usage

from .answers import DONE, START, TALE, completion, delta, event
from .conftest import KEY
from .true_server import CALL_ID, Fault, TrueServer, stream, whole

CUTS: list[tuple[Fault, ...]] = [(Fault.CUT,), (Fault.RESET,), ()]


def test_a_stream_gives_pieces_and_then_the_whole_reply(server: TrueServer, client: Solar) -> None:
    server.play(stream(TALE))
    with client.chat("안녕?", stream=True) as pieces:
        assert list(pieces) == ["안녕", "하세요"]
    reply = pieces.reply
    assert (str(reply), reply.finish_reason, reply.call_id) == ("안녕하세요", "stop", CALL_ID)
    assert reply.usage == Usage(20, 10, 12, 5)
    assert (reply.cost, reply.currency) == (Decimal("0.00012345"), "USD")
    assert server.requests[0].json()["stream_options"] == {"include_usage": True}


@pytest.mark.parametrize("size", [1, 2, 3, 7])
def test_a_stream_is_the_same_in_chunks_of_any_size(server: TrueServer, client: Solar, size: int) -> None:
    wire = b"".join(TALE).replace(b"\n", b"\r\n")
    server.play(stream([wire[at : at + size] for at in range(0, len(wire), size)]))
    pieces = client.chat("안녕?", stream=True)
    assert list(pieces) == ["안녕", "하세요"]
    assert pieces.reply.cost == Decimal("0.00012345")


def test_streamed_tool_calls_are_put_together_and_an_empty_name_overwrites_nothing(
    server: TrueServer, client: Solar
) -> None:
    first = [{"index": 0, "id": "t1", "type": "function", "function": {"name": "weather", "arguments": '{"ci'}}]
    later = [{"index": 0, "function": {"name": "", "arguments": 'ty":"서울"}'}}]
    other = [{"index": 1, "id": "t2", "function": {"name": "time", "arguments": "{}"}}]
    calls = [delta(tool_calls=part) for part in (first, later, other)]
    server.play(stream([delta(reasoning="음"), *calls, delta("tool_calls"), DONE]))
    pieces = client.chat("날씨?", stream=True)
    assert list(pieces) == []
    assert pieces.reply.tool_calls == (ToolCall("t1", "weather", '{"city":"서울"}'), ToolCall("t2", "time", "{}"))
    assert (pieces.reply.finish_reason, pieces.reply.reasoning) == ("tool_calls", "음")
    assert (pieces.reply.usage, pieces.reply.cost) == (None, None)


def test_comments_between_events_are_passed_over(server: TrueServer, client: Solar) -> None:
    server.play(stream([b": wait\n\n", TALE[0], b": wait\n", *TALE[1:]]))
    assert list(client.chat("?", stream=True)) == ["안녕", "하세요"]


def test_a_stream_read_to_its_end_leaves_its_connection_to_the_next_call(server: TrueServer, client: Solar) -> None:
    server.play(stream(TALE), whole(completion()))
    list(client.chat("?", stream=True))
    client.chat("?")
    assert [request.connection for request in server.requests] == [1, 1]


def test_a_server_that_stays_after_the_end_of_a_stream_is_left_soon(server: TrueServer, client: Solar) -> None:
    server.play(stream(TALE, Fault.HOLD))
    assert list(client.chat("?", stream=True)) == ["안녕", "하세요"]
    assert server.saw_hang_up()


def test_leaving_a_with_block_hangs_up(server: TrueServer, client: Solar) -> None:
    server.play(stream(TALE[:2], Fault.HOLD))
    with client.chat("?", stream=True) as pieces:
        assert next(pieces) == "안녕"
    assert server.saw_hang_up()
    assert list(pieces) == []


def test_a_forgotten_stream_hangs_up_and_its_client_goes_on(server: TrueServer, client: Solar) -> None:
    server.play(stream(TALE[:2], Fault.HOLD), whole(completion()))
    for piece in client.chat("?", stream=True):
        assert piece == "안녕"
        break
    gc.collect()
    assert server.saw_hang_up()
    assert str(client.chat("?")) == "안녕하세요!"


def test_a_forgotten_stream_gives_its_place_in_the_pool_back(server: TrueServer) -> None:
    server.play(stream(TALE[:2], Fault.HOLD), whole(completion()))
    with httpx.Client(limits=httpx.Limits(max_connections=1)) as one_place:
        client = Solar(KEY, server.base_url, timeout_s=5, httpx_client=one_place)
        next(client.chat("?", stream=True))
        assert str(client.chat("?")) == "안녕하세요!"


async def test_a_forgotten_async_stream_hangs_up(server: TrueServer, async_client: AsyncSolar) -> None:
    server.play(stream(TALE[:2], Fault.HOLD), whole(completion()))
    async for piece in await async_client.chat("?", stream=True):
        assert piece == "안녕"
        break
    gc.collect()
    assert str(await async_client.chat("?")) == "안녕하세요!"
    assert server.saw_hang_up()


async def test_an_async_stream_gives_pieces_and_then_the_reply(server: TrueServer, async_client: AsyncSolar) -> None:
    server.play(stream(TALE), whole(completion()))
    pieces = await async_client.chat("안녕?", stream=True)
    assert [piece async for piece in pieces] == ["안녕", "하세요"]
    assert (str(pieces.reply), pieces.reply.cost) == ("안녕하세요", Decimal("0.00012345"))
    await async_client.chat("?")
    assert [request.connection for request in server.requests] == [1, 1]


async def test_leaving_an_async_with_block_hangs_up(server: TrueServer, async_client: AsyncSolar) -> None:
    server.play(stream(TALE[:2], Fault.HOLD))
    async with await async_client.chat("?", stream=True) as pieces:
        assert await anext(pieces) == "안녕"
    assert server.saw_hang_up()


@pytest.mark.parametrize("fault", CUTS)
def test_a_stream_without_its_end_hands_out_its_pieces_and_then_raises(
    server: TrueServer, client: Solar, fault: tuple[Fault, ...]
) -> None:
    server.play(stream(TALE[:2], *fault))
    pieces = client.chat("?", stream=True)
    assert next(pieces) == "안녕"
    with pytest.raises(solar_sdk.StreamInterruptedError) as caught:
        next(pieces)
    assert (caught.value.code, caught.value.call_id) == ("stream_cut", CALL_ID)
    assert len(server.requests) == 1, "a stream that began is never sent again"
    with pytest.raises(solar_sdk.StreamInterruptedError, match="not read to its end"):
        _ = pieces.reply


@pytest.mark.parametrize("fault", CUTS)
async def test_an_async_stream_without_its_end_raises(
    server: TrueServer, async_client: AsyncSolar, fault: tuple[Fault, ...]
) -> None:
    server.play(stream(TALE[:2], *fault))
    with pytest.raises(solar_sdk.StreamInterruptedError) as caught:
        _ = [piece async for piece in await async_client.chat("?", stream=True)]
    assert (caught.value.code, len(server.requests)) == ("stream_cut", 1)


def test_a_cap_reached_in_mid_stream_is_a_budget_error_after_the_pieces(server: TrueServer, client: Solar) -> None:
    server.play(stream([START, TALE[1] + event({"error": {"message": "cap", "code": "budget_exceeded"}})]))
    pieces = client.chat("?", stream=True)
    assert next(pieces) == "안녕"
    with pytest.raises(solar_sdk.BudgetExceededError, match="cap") as caught:
        next(pieces)
    assert (caught.value.code, caught.value.call_id) == ("budget_exceeded", CALL_ID)


def test_another_error_event_carries_its_code_and_hangs_up(server: TrueServer, client: Solar) -> None:
    server.play(stream([event({"error": {"message": "gone", "code": "upstream_interrupted"}})], Fault.HOLD))
    with pytest.raises(solar_sdk.StreamInterruptedError, match="gone") as caught:
        list(client.chat("?", stream=True))
    assert caught.value.code == "upstream_interrupted"
    assert server.saw_hang_up()


def test_an_event_that_is_no_json_ends_the_stream_as_malformed(server: TrueServer, client: Solar) -> None:
    server.play(stream([TALE[1], b"data: {oops\n\n", DONE]))
    pieces = client.chat("?", stream=True)
    assert next(pieces) == "안녕"
    with pytest.raises(solar_sdk.StreamInterruptedError) as caught:
        next(pieces)
    assert caught.value.code == "malformed_event"
