"""A server that is told byte by byte what to say: answers in pieces, pauses, silence, closed and reset connections, TLS.

A script is a coroutine function that is run for each connection and holds its `Peer`; the connection is closed when it returns.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

CERTIFICATE = Path(__file__).with_name("localhost-test-only.pem")
_PAUSE_S = 0.001


@dataclass
class Peer:
    """The server's end of one connection; `number` counts them from 0."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    number: int

    async def request(self) -> bytes:
        """The next request, whole, as it came; `asyncio.IncompleteReadError` where the client hangs up instead."""
        head = await self.reader.readuntil(b"\r\n\r\n")
        lowered = head.lower()
        if b"transfer-encoding: chunked" in lowered:
            return head + await self.reader.readuntil(b"0\r\n\r\n")
        _, _, length = lowered.partition(b"content-length: ")
        return head + await self.reader.readexactly(int(length.partition(b"\r\n")[0] or 0))

    async def send(self, *pieces: bytes) -> None:
        """Each piece as a packet of its own, as far as the network allows."""
        for piece in pieces:
            self.writer.write(piece)
            await self.writer.drain()
            if len(pieces) > 1:
                await asyncio.sleep(_PAUSE_S)

    async def hung_up(self) -> None:
        """Returns when the client has closed the connection; what it sends before that is lost."""
        with suppress(ConnectionError):
            while await self.reader.read(65_536):
                pass

    def reset(self) -> None:
        """Close so that the client sees a reset."""
        sock: socket.socket = self.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()


Script = Callable[[Peer], Awaitable[None]]


@dataclass
class RawServer:
    """Where it listens, and what it saw."""

    port: int = 0
    tls: bool = False
    requests: list[bytes] = field(default_factory=list)
    accepted: int = 0
    open: int = 0

    def url(self, path: str = "/", host: str | None = None) -> str:
        scheme, name = ("https", "localhost") if self.tls else ("http", "127.0.0.1")
        return f"{scheme}://{host or name}:{self.port}{path}"


@asynccontextmanager
async def raw_server(script: Script, *, tls: bool = False) -> AsyncIterator[RawServer]:
    """Runs for the length of the block. An error in a script is an error of the block."""
    server, running = RawServer(tls=tls), set[asyncio.Task[None]]()
    errors: list[BaseException] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peer = Peer(reader, writer, server.accepted)
        server.accepted += 1
        server.open += 1
        try:
            await script(peer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # the client hung up
        finally:
            server.open -= 1
            writer.close()

    def ended(task: asyncio.Task[None]) -> None:
        running.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None:
            errors.append(error)

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.get_running_loop().create_task(serve(reader, writer))
        running.add(task)
        task.add_done_callback(ended)

    listener = await asyncio.start_server(accept, "127.0.0.1", 0, ssl=server_context() if tls else None)
    server.port = listener.sockets[0].getsockname()[1]
    try:
        yield server
    finally:
        listener.close()
        for task in tuple(running):
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
    if errors:
        raise ExceptionGroup("scripts failed", [error for error in errors if isinstance(error, Exception)])


def answering(*pieces: bytes, then_close: bool = False) -> Script:
    """Every request is answered with the same bytes."""

    async def script(peer: Peer) -> None:
        while True:
            await peer.request()
            await peer.send(*pieces)
            if then_close:
                return

    return script


def server_context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CERTIFICATE)
    return context


def client_context() -> ssl.SSLContext:
    """Trusts the test's certificate and no other."""
    return ssl.create_default_context(cafile=str(CERTIFICATE))
