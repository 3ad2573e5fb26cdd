"""A small true HTTP server, whose every answer is written by the test, byte by byte."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

import httpx

from gateway.fleet.breaker import BreakerRules
from gateway.fleet.fleet import Fleet
from gateway.fleet.turns import QueueRules
from gateway.roster.keys import read_roster
from gateway.upstream.line import Patience
from gateway.upstream.retry import RetryRules
from gateway.upstream.solar import Solar

Answer = Callable[[asyncio.StreamWriter], Awaitable[None]]
KEYS = ("up-secret-one", "up-secret-two")


@dataclass
class Peer:
    """What came in, and where it listens."""

    port: int = 0
    requests: list[tuple[str, dict[str, str], bytes]] = field(default_factory=list)
    hung_up: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"


@asynccontextmanager
async def a_peer(answer: Answer, port: int = 0) -> AsyncIterator[Peer]:
    """Answers every request in the same way, for the length of a block."""
    peer = Peer()
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
                headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in head[1:] if line)}
                body = await reader.readexactly(int(headers["content-length"]))
                peer.requests.append((head[0], headers, body))
                await answer(writer)
        peer.hung_up.set()
        writer.close()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(serve(reader, writer))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    server = await asyncio.start_server(accept, "127.0.0.1", port)
    peer.port = server.sockets[0].getsockname()[1]
    try:
        yield peer
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def says(*parts: bytes, close: bool = False) -> Answer:
    """Sends these parts and, where told, cuts the connection."""

    async def answer(writer: asyncio.StreamWriter) -> None:
        for part in parts:
            writer.write(part)
            await writer.drain()
        if close:
            writer.close()

    return answer


def a_solar(
    url: str,
    *,
    attempts: int = 3,
    first_byte_s: float = 5.0,
    idle_s: float = 5.0,
    keys: tuple[str, ...] = KEYS,
    network: httpx.AsyncBaseTransport | None = None,
    resend_lost: bool = True,
    queue: QueueRules | None = None,
) -> Solar:
    """Its keys may name addresses of their own: `secret@http://…`."""
    roster = read_roster(",".join(keys), url)
    return Solar(
        network or httpx.AsyncHTTPTransport(retries=0, trust_env=False),
        Fleet(roster, BreakerRules(failures_max=1000), queue or QueueRules()),
        Patience(connect_s=2.0, first_byte_s=first_byte_s, idle_s=idle_s),
        RetryRules(attempts - len(roster) + 1, resend_lost),
    )
