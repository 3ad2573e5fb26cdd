"""Server-sent events, split at their boundaries and otherwise untouched. Pure.

Units: bytes. An event ends at an empty line (LF, CRLF or CR LF mixed; WHATWG HTML, "Server-sent events", 2024). What was split joins
to what came in, whatever the chunking. Errors: `EventTooLarge`.
"""

from __future__ import annotations

import re

_BOUNDARY = re.compile(rb"\r?\n\r?\n")


_PLAIN_CHUNK = re.compile(rb"0{0,4}([1-9A-Fa-f][0-9A-Fa-f]{0,7})\r\n[^\r]*[^\r\n]\n\n\r\n")
"""One chunk of HTTP/1.1 without extensions, of events whose lines end in LF."""


class EventTooLarge(ValueError):
    """An event is larger than the gateway holds in memory."""


class EventSplitter:
    """Feed chunks, get complete events (each with its empty line)."""

    def __init__(self, event_max_bytes: int) -> None:
        self._event_max_bytes = event_max_bytes
        self._rest = b""

    def is_whole(self, chunk: bytes) -> bool:
        """Is this chunk one or several complete events, with nothing left over from before? False also where it takes a closer look."""
        return not self._rest and chunk.endswith(b"\n\n") and not chunk.endswith(b"\n\n\n") and b"\r" not in chunk

    def is_plain_chunk(self, data: bytes) -> bool:
        """Is this one chunk as it stands on the wire, frame and all, that `is_whole`? False also where it takes a closer look."""
        found = _PLAIN_CHUNK.fullmatch(data)
        if found is None or self._rest:
            return False
        return int(found[1], 16) == len(data) - found.end(1) - 4  # two line ends

    def feed(self, chunk: bytes) -> list[bytes]:
        if self.is_whole(chunk):
            return [event + b"\n\n" for event in chunk.split(b"\n\n")[:-1]]
        data = self._rest + chunk if self._rest else chunk
        events, start = [], 0
        # Only what is new, and three bytes before it, can complete a boundary.
        look_from = max(0, len(self._rest) - 3)
        for boundary in _BOUNDARY.finditer(data, look_from):
            events.append(data[start : boundary.end()])
            start = boundary.end()
        self._rest = data[start:]
        if len(self._rest) > self._event_max_bytes:
            raise EventTooLarge(f"an event is larger than {self._event_max_bytes} bytes")
        return events

    def rest(self) -> bytes:
        """What came after the last boundary."""
        return self._rest
