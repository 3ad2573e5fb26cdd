"""Relays one stream, event by event, as far as its hold covers it.

What the client's socket was handed is charged, so an event leaves only once its tokens are covered. While the slice held reaches far
enough, which is nearly always, the events of a chunk go together and nobody waits for anything.
Units: tokens, bytes. Errors: `NotCovered` where the budget ends (the event that would go beyond it does not leave), `EventTooLarge`.
"""

from __future__ import annotations

from gateway.admission.keep import Lease
from gateway.meter.tally import StreamTally
from gateway.trip import Door
from gateway.upstream.stream import EventSplitter


class Relay:
    """One stream on its way to the client."""

    def __init__(self, door: Door, tally: StreamTally, lease: Lease, event_max_bytes: int) -> None:
        self._door = door
        self._tally = tally
        self._lease = lease
        self._splitter = EventSplitter(event_max_bytes)

    async def chunk(self, chunk: bytes) -> None:
        """Pass on the events that a chunk completes."""
        tally, lease = self._tally, self._lease
        events = self._splitter.feed(chunk)
        # No event has more tokens than bytes.
        if not lease.is_capped or tally.output_tokens_seen + sum(map(len, events)) <= lease.covered_tokens:
            passed = tally.pass_on(events)
        else:
            passed = await self._one_by_one(events)
        if passed:
            await self._door.write(passed)
        lease.saw(tally.output_tokens_seen, tally.input_tokens_told)

    async def _one_by_one(self, events: list[bytes]) -> bytes:
        """Events near the end of what is covered: those that are go out, the rest waits for an extension."""
        tally, lease = self._tally, self._lease
        passed: list[bytes] = []
        for event in events:
            needed = tally.output_tokens_with(event)
            if needed > lease.covered_tokens:
                if passed:
                    await self._door.write(b"".join(passed))
                    passed.clear()
                lease.saw(tally.output_tokens_seen, tally.input_tokens_told)
                await lease.cover(needed)
            passed.append(tally.pass_on([event]))
        return b"".join(passed)

    def rest(self) -> None:
        """What came after the last empty line."""
        self._tally.pass_on_rest(self._splitter.rest())
