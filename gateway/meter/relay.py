"""Passes the events of one stream on, as far as its hold covers them.

What the client's socket was handed is charged, so an event leaves only once its tokens are covered. While the slice held reaches far
enough, which is nearly always, events go from socket to socket at once: `pass_chunk` and `take` are called by upstream's own
connection, and wake nobody. What says something of usage, an end or an error, is cut in two, or is not covered yet, is kept for `look`,
which may wait.
Units: tokens, bytes. Errors: what `cover` raises where the budget ends; the event that would go beyond it does not leave.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from gateway.meter.tally import StreamTally

_UNSAID_EVENTS_MAX = 16
_UNSEEN_MAX_BYTES = 16 * 1024


class Cover(Protocol):
    """What is held for a call (`gateway.admission.keep.Lease`)."""

    is_capped: bool
    covered_tokens: int

    def watch(self, progress: Progress) -> None: ...
    def has_news(self) -> None: ...
    def saw(self, output_tokens: int, input_tokens: int) -> None: ...
    async def cover(self, output_tokens: int) -> None: ...


class Progress(Protocol):
    """Who knows what has come of an answer."""

    def seen(self) -> tuple[int, int]:
        """(output tokens, input tokens as far as upstream told them)."""


class Splitter(Protocol):
    """Cuts a stream into events (`gateway.upstream.stream.EventSplitter`)."""

    def is_whole(self, chunk: bytes) -> bool: ...
    def is_plain_chunk(self, data: bytes) -> bool: ...
    def feed(self, chunk: bytes) -> list[bytes]: ...


class Outlet(Protocol):
    """Where events leave (`gateway.trip.Door`)."""

    def put(self, data: bytes) -> bool: ...
    def put_chunk(self, chunk: bytes) -> bool: ...
    async def drained(self) -> None: ...
    async def write(self, data: bytes) -> None: ...


class Relay:
    """One stream on its way to the client."""

    def __init__(
        self, door: Outlet, splitter: Splitter, tally: StreamTally, held: Cover, now_s: Callable[[], float]
    ) -> None:
        self.first_event_s: float | None = None
        """When the first event left, on the clock given."""
        self._now_s = now_s
        self._door = door
        self._splitter = splitter
        self._tally = tally
        self._held = held
        self._kept = b""
        self._unsaid = 0
        self._room_bytes = 0
        """So much may pass before anyone must ask whether it is covered."""
        held.watch(self)

    def pass_chunk(self, chunk: bytes) -> bool:
        """A read from upstream that is one chunk, frame and all, of plain events: True where it has left as it is, False: `take` it.

        The straight line of nearly all events, in one turn of the loop. What must be told or asked now and then, `take` does.
        """
        if not 0 < self._unsaid < _UNSAID_EVENTS_MAX - 1:
            return False
        size = len(chunk)
        if size > self._room_bytes or not self._splitter.is_plain_chunk(chunk):
            return False
        tally = self._tally
        for marker in tally.markers:
            if marker in chunk:
                return False
        if not self._door.put_chunk(chunk):
            return False
        self._room_bytes -= size
        self._unsaid += 1
        tally.uncounted.append(chunk)
        tally.let_through(size)
        return True

    def take(self, chunk: bytes) -> bool:
        """The next piece of the stream; False where `look` must be awaited before more."""
        if not (self._splitter.is_whole(chunk) and self._covers(len(chunk)) and self._tally.lets_through(chunk)):
            self._kept = chunk
            return False
        self._room_bytes = self._room()
        self._unsaid += 1
        if self._unsaid == 1:
            if self.first_event_s is None:
                self.first_event_s = self._now_s()
            self._held.has_news()
        elif self._unsaid >= _UNSAID_EVENTS_MAX:
            self._held.saw(*self.seen())
        return self._door.put(chunk)

    async def look(self) -> None:
        """Look at what was kept, and wait for a client that is slow."""
        kept, self._kept = self._kept, b""
        self._room_bytes = 0
        if kept:
            await self._pass_on(self._splitter.feed(kept))
        await self._door.drained()

    def seen(self) -> tuple[int, int]:
        """What has come so far, counted now."""
        self._unsaid = 0
        return self._tally.output_tokens_seen, self._tally.input_tokens_told

    def _room(self) -> int:
        """How many bytes may pass that say nothing special. No event has more tokens than bytes."""
        held, tally = self._held, self._tally
        if not held.is_capped:
            return _UNSEEN_MAX_BYTES
        return min(_UNSEEN_MAX_BYTES, held.covered_tokens - tally.output_tokens_at_most)

    def _covers(self, more_bytes: int) -> bool:
        """Would so much more be covered, whatever it says? No event has more tokens than bytes."""
        held, tally = self._held, self._tally
        if not held.is_capped:
            return True
        room = held.covered_tokens - more_bytes
        return tally.output_tokens_at_most <= room or tally.output_tokens_seen <= room

    async def _pass_on(self, events: list[bytes]) -> None:
        """Count the next events and hand them to the client."""
        passed = self._tally.pass_on(events) if self._covers(sum(map(len, events))) else await self._one_by_one(events)
        if passed:
            if self.first_event_s is None:
                self.first_event_s = self._now_s()
            await self._door.write(passed)
        self._held.saw(*self.seen())

    async def _one_by_one(self, events: list[bytes]) -> bytes:
        """Events near the end of what is covered: those that are go out, the rest waits for an extension."""
        tally, held = self._tally, self._held
        passed: list[bytes] = []
        for event in events:
            needed = tally.output_tokens_with(event)
            if needed > held.covered_tokens:
                if passed:
                    await self._door.write(b"".join(passed))
                    passed.clear()
                held.saw(*self.seen())
                await held.cover(needed)
            passed.append(tally.pass_on([event]))
        return b"".join(passed)
