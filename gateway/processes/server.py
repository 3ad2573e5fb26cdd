"""uvicorn, under our own signals: whoever runs it decides when it stops, and a clean stop exits 0.

uvicorn re-raises SIGTERM after a clean stop, so that its process exits 143 (uvicorn 0.54, 2026-11); here it never sees the signal.
"""

from __future__ import annotations

import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import uvicorn


class Server(uvicorn.Server):
    """A server that calls back once it serves, and stops when it is told to."""

    def __init__(self, config: uvicorn.Config, serving: Callable[[], None]) -> None:
        super().__init__(config)
        self._serving = serving

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._serving()

    def stop(self) -> None:
        self.should_exit = True


def announce_ready() -> None:
    """Tell the supervisor, over our stdout, that this process does its work now."""
    sys.stdout.buffer.write(b"ready\n")
    sys.stdout.buffer.flush()
