"""uvicorn, under our own signals: whoever runs it decides when it stops, and a clean stop exits 0.

uvicorn re-raises SIGTERM after a clean stop, so that its process exits 143 (uvicorn 0.54, 2026-11); here it never sees the signal.
"""

from __future__ import annotations

import asyncio
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import uvicorn

LEAVING = signal.SIGUSR1
"""The supervisor's word to a worker: it serves on, and each answer tells its client to come back elsewhere."""
_CLOSE = (b"connection", b"close")
_POLL_S = 0.02


class Server(uvicorn.Server):
    """A server that calls back once it serves, and stops when it is told to.

    It leaves first: answers carry `connection: close`, and where it stops, it takes no new connections and gives those that are idle
    `linger_s` to be used once more, so that a client of a busy connection learns it from an answer and not from a reset.
    """

    def __init__(
        self,
        config: uvicorn.Config,
        serving: Callable[[], None],
        *,
        linger_s: float = 0.0,
        leaving: Callable[[], None] = lambda: None,
    ) -> None:
        super().__init__(config)
        self._serving = serving
        self._linger_s = linger_s
        self._leaving = leaving

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._serving()

    def leave(self) -> None:
        """Serve on, and tell each client to close. Safe to repeat."""
        if _CLOSE not in self.config.encoded_headers:
            self.config.encoded_headers.append(
                _CLOSE
            )  # what the loop of the server makes the default headers of, each second
            self.server_state.default_headers = [*self.server_state.default_headers, _CLOSE]
        self._leaving()

    def stop(self) -> None:
        self.should_exit = True

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self.leave()
        for server in self.servers:
            server.close()
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._linger_s
        while self.server_state.connections and loop.time() < deadline:  # noqa: ASYNC110 - uvicorn's set of them tells nobody
            await asyncio.sleep(_POLL_S)
        await super().shutdown(sockets)


def announce_ready() -> None:
    """Tell the supervisor, over our stdout, that this process does its work now."""
    sys.stdout.buffer.write(b"ready\n")
    sys.stdout.buffer.flush()
