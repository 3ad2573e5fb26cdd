"""TLS in front of a store that has none of its own, with the certificate of the tests (`localhost`, trusted by nobody).

Redis speaks TLS from its first byte; Postgres after the eight bytes of an SSLRequest, which is answered `S` (Postgres 18 manual, "Message
Flow", SSL Session Encryption). What comes out behind the front is what the store understands. Bytes are passed as they are.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

CERTIFICATE = Path(__file__).with_name("localhost-test-only.pem")
_SSL_REQUEST = bytes([0, 0, 0, 8, 4, 210, 22, 47])
_READ_BYTES = 65536


def _context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CERTIFICATE)
    return context


@asynccontextmanager
async def tls_front(port: int, *, postgres: bool = False) -> AsyncIterator[int]:
    """Listens on a port that it gives, in front of a port of this machine."""
    context = _context()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            if postgres:
                if await reader.readexactly(len(_SSL_REQUEST)) != _SSL_REQUEST:
                    return  # who would speak in the clear is not let in
                writer.write(b"S")
                await writer.start_tls(context)
            inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", port)
            with suppress(OSError):
                await asyncio.gather(_pass(reader, inner_writer), _pass(inner_reader, writer))
        except (OSError, ssl.SSLError, asyncio.IncompleteReadError):
            return
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=None if postgres else context)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


async def _pass(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(_READ_BYTES):
            writer.write(data)
            await writer.drain()
    finally:
        writer.close()
