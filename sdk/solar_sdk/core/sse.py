"""Server-sent events from bytes, cut anywhere.

Follows the event stream format of the WHATWG HTML standard, section 9.2.6 (read 2026-11): lines end in LF, CRLF or CR,
several `data` lines are joined by LF, lines that begin with a colon are comments, an event without its closing empty
line is dropped. UTF-8 is decoded a whole line at a time, so a character split over two chunks stays whole.
Units: bytes. Raises EventTooLargeError (a ValueError) above `event_bytes_max`.
"""

from dataclasses import dataclass

EVENT_BYTES_MAX = 16 * 1024 * 1024
_BOM = "\ufeff"


class EventTooLargeError(ValueError):
    """One event holds more bytes than the decoder keeps."""


@dataclass(frozen=True)
class Event:
    data: str
    name: str = ""


class EventDecoder:
    """`feed` it chunks of any size; it returns the events that became whole."""

    def __init__(self, event_bytes_max: int = EVENT_BYTES_MAX) -> None:
        self._event_bytes_max = event_bytes_max
        self._event_bytes = 0
        self._line = bytearray()
        self._data: list[str] = []
        self._name = ""
        self._after_cr = False
        self._first_line = True

    def feed(self, chunk: bytes) -> list[Event]:
        if self._after_cr and chunk:
            chunk = chunk.removeprefix(b"\n")
            self._after_cr = False
        if not chunk:
            return []
        self._after_cr = chunk.endswith(b"\r")
        *endings, rest = chunk.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
        events = []
        for ending in endings:
            self._grow(ending)
            line = self._line.decode("utf-8", errors="replace")
            self._line.clear()
            if event := self._take(line):
                events.append(event)
        self._grow(rest)
        return events

    def _grow(self, part: bytes) -> None:
        self._event_bytes += len(part)
        if self._event_bytes > self._event_bytes_max:
            raise EventTooLargeError(f"one event is larger than {self._event_bytes_max} bytes")
        self._line += part

    def _take(self, line: str) -> Event | None:
        if self._first_line:
            self._first_line = False
            line = line.removeprefix(_BOM)
        if not line:
            return self._close_event()
        field, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if field == "data":
            self._data.append(value)
        elif field == "event":
            self._name = value
        elif not field and not self._data:
            self._event_bytes = 0  # keep-alive comments between events do not add up
        return None

    def _close_event(self) -> Event | None:
        event = Event("\n".join(self._data), self._name) if self._data else None
        self._data = []
        self._name = ""
        self._event_bytes = 0
        return event
