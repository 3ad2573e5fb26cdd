"""The fast door: inference calls are taken off in the server's protocol class, before ASGI; everything else goes on to Litestar.

uvicorn's ASGI cycle costs about 80 of the 96 µs that a Litestar route costs here (design.md section 8, 2026-11). `InferenceProtocol` keeps
all that uvicorn does for a connection (parsing, pipelining, keep-alive and its timer, shutdown, flow control), and puts an
`InferenceCycle` (cycle.py) where uvicorn would put its ASGI cycle. That cycle is a `Door`: the same journey walks through it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, ClassVar

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from gateway.doors.cycle import InferenceCycle
from gateway.doors.head import HEAD_MAX_BYTES, KnownHead, RequestHead, to_wire_too_large
from gateway.journey import Journey
from gateway.keys.address import Proxies
from gateway.meter.endpoint import Endpoint


class InferenceProtocol(HttpToolsProtocol):
    """uvicorn's protocol, with a door for metered calls. Subclassed by `protocol_of`, which names the journey."""

    journey: Journey
    metered: Mapping[bytes, Endpoint]
    body_max_bytes: int
    proxies: Proxies
    leaving: ClassVar[bool] = False
    """This process serves on for a while, and each answer tells its client to close the connection."""
    _quiet_since_s: float | None = None
    """Since when the client owes the head of a request, or the rest of it; None while it owes none."""
    _head_bytes = 0
    _head_open = False
    """Has a head begun that is not whole yet?"""
    _between = True
    """Has every request so far come to its end, with nothing of another behind it?"""
    _known: KnownHead | None = None
    _default_lines: ClassVar[tuple[object, bytes]] = (None, b"")

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._quiet_since_s = self.loop.time()
        self._look_again_in(self.timeout_keep_alive)

    # ---- requests -----------------------------------------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        if not self._between:
            super().data_received(data)
            if self._head_open:
                self._head_bytes += len(data)
                self._bound_head(self._head_bytes)
            return
        cycle, known = self.cycle, self._known
        if known is not None and cycle.response_complete:
            body = known.body_in(data)
            if body is not None and len(body) <= self.body_max_bytes and not self.transport.is_closing():
                self._quiet_since_s = None
                call = InferenceCycle(self, known.head, body)
                self.cycle = call  # type: ignore[assignment]
                call.begin()
                return
        super().data_received(data)
        if self._head_open:
            self._head_bytes += len(data)
            self._bound_head(self._head_bytes)
        if self._between and self.cycle is not cycle and isinstance(self.cycle, InferenceCycle):
            self._known = KnownHead.of(data, self.cycle.head)

    def on_message_begin(self) -> None:
        self._between = False
        self._head_open, self._head_bytes = True, 0
        self._quiet_since_s = self.loop.time()
        # The ASGI scope is built only for requests that go on to ASGI.
        self.url = b""
        self.expect_100_continue = False
        self.headers = []

    def on_headers_complete(self) -> None:
        self._head_open, self._quiet_since_s = False, None
        if self._bound_head(sum([len(name) + len(value) for name, value in self.headers])):
            return
        endpoint = self.metered.get(self.url)
        if endpoint is None or self.parser.get_method() != b"POST" or self.parser.should_upgrade():
            self._go_on_to_asgi()
            return
        before = self.cycle
        keep_alive = self.parser.get_http_version() != "1.0" and self.parser.should_keep_alive()
        head = RequestHead(endpoint, self.headers, keep_alive=keep_alive, expects_100=self.expect_100_continue)
        cycle = InferenceCycle(self, head)
        self.cycle = cycle  # type: ignore[assignment]
        if before is None or before.response_complete:
            self._start_asgi_task(cycle, self.app)
        else:
            self.flow.pause_reading()
            self.pipeline.appendleft((cycle, self.app))  # type: ignore[arg-type]

    def on_message_complete(self) -> None:
        self._between = True
        super().on_message_complete()

    def _bound_head(self, head_bytes: int) -> bool:
        """Refuse a head beyond the bound, and hear no more of this connection: True where it was."""
        if head_bytes <= HEAD_MAX_BYTES:
            return False
        self._head_open = False
        if not self.transport.is_closing():
            self.transport.write(to_wire_too_large())
            self.transport.close()
        return True

    def _go_on_to_asgi(self) -> None:
        url, headers, expects = self.url, self.headers, self.expect_100_continue
        super().on_message_begin()  # builds the scope
        self.url, self.expect_100_continue = url, expects
        self.headers.extend(headers)
        super().on_headers_complete()

    def _start_asgi_task(self, cycle: Any, app: Any) -> None:
        if not isinstance(cycle, InferenceCycle):
            super()._start_asgi_task(cycle, app)
            return
        cycle.begin()

    def default_lines(self) -> bytes:
        """The headers that every answer has (`date`); the server makes them anew once a second, we write them out as often."""
        kept, lines = self._default_lines
        fields = self.server_state.default_headers
        if kept is not fields:
            lines = b"".join([b"%b: %b\r\n" % field for field in fields if field[0] != b"connection"])
            InferenceProtocol._default_lines = (fields, lines)
        return lines

    # ---- keep-alive, as uvicorn's, but for its timer: it is looked at when it fires, not cancelled with every request ----------

    def on_response_complete(self) -> None:
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        if self.flow.read_paused:
            self.flow.resume_reading()
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())
            return
        self._quiet_since_s = self.loop.time()
        if self.timeout_keep_alive_task is None:
            self._look_again_in(self.timeout_keep_alive)

    def _look_again_in(self, seconds: float) -> None:
        self.timeout_keep_alive_task = self.loop.call_later(seconds, self.timeout_keep_alive_handler)

    def _unset_keepalive_if_required(self) -> None:
        """Not by any byte that comes: the clock runs until a head is whole, else one byte a minute would keep a connection."""

    def timeout_keep_alive_handler(self) -> None:
        answering = self.cycle is not None and not self.cycle.response_complete
        since_s = None if answering else self._quiet_since_s
        quiet_s = 0.0 if since_s is None else self.loop.time() - since_s
        if quiet_s < self.timeout_keep_alive:
            self._look_again_in(self.timeout_keep_alive - quiet_s)
        else:
            super().timeout_keep_alive_handler()

    def connection_lost(self, exc: Exception | None) -> None:
        if self.timeout_keep_alive_task is not None:
            self.timeout_keep_alive_task.cancel()
        for cycle in (self.cycle, *(waiting for waiting, _ in self.pipeline)):
            if isinstance(cycle, InferenceCycle):
                cycle.hang_up()
        super().connection_lost(exc)


def protocol_of(
    journey: Journey, metered: Mapping[str, Endpoint], body_max_bytes: int, proxies: Proxies
) -> type[InferenceProtocol]:
    """A protocol class for `uvicorn.Config(http=…)` that carries metered calls through a journey."""
    members = {
        "journey": journey,
        "metered": {path.encode(): endpoint for path, endpoint in metered.items()},
        "body_max_bytes": body_max_bytes,
        "proxies": proxies,
    }
    return type("MeteredProtocol", (InferenceProtocol,), members)


def tell_leaving(door: type[asyncio.Protocol] | str) -> None:
    """From now on each answer of this door (`fast_door`) says `connection: close`."""
    if not isinstance(door, str) and issubclass(door, InferenceProtocol):
        door.leaving = True
