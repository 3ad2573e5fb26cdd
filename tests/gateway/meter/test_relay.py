"""A relay passes the same bytes whatever the network cuts, at once where it may, and nothing that is not covered."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import BudgetExceeded
from gateway.meter.relay import Progress, Relay
from gateway.meter.tally import StreamTally
from gateway.meter.wires import CHAT_WIRE
from gateway.upstream.stream import EventSplitter
from tests.gateway.values import a_call, a_caller

CALL = a_call(a_caller("acc_00000001"), prompt_max=400, output_max=500)


def said(text: bytes) -> bytes:
    return b'data: {"model":"solar-pro4-260806","choices":[{"delta":{"content":"%b"},"finish_reason":null}]}\n\n' % text


WORDS = [said(b"word %d" % at) for at in range(40)]
USAGE = b'data: {"choices":[],"usage":{"prompt_tokens":9,"completion_tokens":40}}\n\n'
DONE = b"data: [DONE]\n\n"


class Client:
    """Where the events leave; a slow one takes them only when it is waited for."""

    def __init__(self, *, slow: bool = False) -> None:
        self.slow = slow
        self.got = b""
        self.waits = self.chunks = 0

    def put(self, data: bytes) -> bool:
        self.got += data
        return not self.slow

    def put_chunk(self, chunk: bytes) -> bool:
        if self.slow:
            return False
        frame, data = chunk.split(b"\r\n", 1)
        assert int(frame, 16) == len(data) - 2
        self.chunks += 1
        self.got += data[:-2]
        return True

    async def drained(self) -> None:
        self.waits += 1

    async def write(self, data: bytes) -> None:
        self.got += data


class Held:
    """A hold of so many output tokens, which nobody extends."""

    def __init__(self, covered_tokens: int | None = None) -> None:
        self.is_capped = covered_tokens is not None
        self.covered_tokens = covered_tokens or 0
        self.told: list[int] = []
        self.progress: Progress | None = None
        self.news = 0

    def watch(self, progress: Progress) -> None:
        self.progress = progress

    def has_news(self) -> None:
        self.news += 1

    def saw(self, output_tokens: int, input_tokens: int) -> None:
        self.told.append(output_tokens)

    async def cover(self, output_tokens: int) -> None:
        raise BudgetExceeded(f"{output_tokens} tokens are not covered.")


def a_relay(client: Client, held: Held) -> tuple[Relay, StreamTally]:
    tally = StreamTally(CALL, CHAT_WIRE, usage_wanted=False)
    return Relay(client, EventSplitter(1 << 20), tally, held, lambda: 1.0), tally


def came(relay: Relay, piece: bytes) -> bool:
    """A piece as upstream's connection hands it over: as a chunk first."""
    return relay.pass_chunk(b"%x\r\n%b\r\n" % (len(piece), piece)) or relay.take(piece)


async def relayed(stream: bytes, cuts: list[int], client: Client, held: Held) -> StreamTally:
    """A stream cut at these places, as upstream's connection hands it over."""
    relay, tally = a_relay(client, held)
    edges = [0, *sorted({cut % (len(stream) + 1) for cut in cuts}), len(stream)]
    for start, end in itertools.pairwise(edges):
        if start < end and not came(relay, stream[start:end]):
            await relay.look()
            if tally.ended:
                break
    return tally


@given(st.lists(st.integers(0, 6000), max_size=30), st.booleans(), st.booleans())
async def test_every_event_passes_and_is_counted_whatever_the_cuts(cuts: list[int], slow: bool, capped: bool) -> None:
    client, held = Client(slow=slow), Held(500 if capped else None)
    tally = await relayed(b"".join([*WORDS, USAGE, DONE]), cuts, client, held)
    assert client.got == b"".join(WORDS)
    assert (tally.output_tokens_seen, tally.ended, tally.broke_off) == (40, True, False)
    assert held.told[-1] == 40


async def test_plain_events_pass_at_once_and_are_told_in_time() -> None:
    client, held = Client(), Held()
    relay, _ = a_relay(client, held)
    await relayed_one(relay, WORDS[0])
    assert all(came(relay, word) for word in WORDS[1:])
    assert client.got == b"".join(WORDS)
    assert client.chunks > len(WORDS) * 3 // 4
    assert held.news
    assert held.told[-1] >= len(WORDS) - 16
    assert held.progress is not None
    assert held.progress.seen() == (40, -1)


async def relayed_one(relay: Relay, event: bytes) -> None:
    """The first event names the model, so it is looked at."""
    assert not relay.take(event)
    await relay.look()


async def test_a_slow_client_is_waited_for_before_more_is_taken() -> None:
    client = Client(slow=True)
    await relayed(b"".join(WORDS), [sum(map(len, WORDS[:at])) for at in range(40)], client, Held())
    assert client.waits == len(WORDS)


@pytest.mark.parametrize("cut_by_event", [True, False])
async def test_the_event_that_goes_beyond_what_is_covered_does_not_leave(cut_by_event: bool) -> None:
    client, held = Client(), Held(25)
    cuts = [sum(map(len, WORDS[:at])) for at in range(40)] if cut_by_event else []
    with pytest.raises(BudgetExceeded):
        await relayed(b"".join(WORDS), cuts, client, held)
    assert client.got == b"".join(WORDS[:25])
    assert held.told[-1] == 25
