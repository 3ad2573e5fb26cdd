"""A TCP proxy that spoils connections as it is told: cuts (FIN), resets (RST), or stalls one after so many bytes.

Bytes are passed as they are; it knows nothing of HTTP. It runs in a thread with an event loop of its own.
With `tls` it is the TLS end of a target that speaks none.
Units: bytes, seconds. `up` is from the client to the target, `down` the way back.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Self
from urllib.parse import urlsplit

_READ_BYTES = 65536
_REMEMBERED_BYTES = 8192
_STOP_S = 10
_NO_LINGER = struct.pack("ii", 1, 0)
Kind = Literal["cut", "reset", "stall"]
Way = Literal["up", "down"]


@dataclass(frozen=True)
class Fault:
    """What happens to one connection, once."""

    kind: Kind
    way: Way
    after_bytes: int
    stall_s: float = 0.0


Plan = Callable[[], Fault | None]
"""Asked once a connection."""


class _Spoiled(Exception):
    """This connection ends here."""


class FaultProxy:
    """Listens on a loopback port in front of a target; `url` is the target's URL with that port."""

    def __init__(self, target_url: str, plan: Plan, *, tls: ssl.SSLContext | None = None) -> None:
        self._tls = tls
        target = urlsplit(target_url)
        self._host, self._port = str(target.hostname), int(target.port or 80)
        self._target = target
        self._plan = plan
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._serving: set[asyncio.Task[None]] = set()
        self.done: Counter[str] = Counter()
        """Faults that came to pass, by kind and way."""
        self.spoiled: list[bytes] = []
        """What was last sent up on each connection that ended by a fault."""

    def __enter__(self) -> Self:
        self._thread.start()
        started = asyncio.run_coroutine_threadsafe(
            asyncio.start_server(self._accept, "127.0.0.1", 0, ssl=self._tls), self._loop
        )
        self._server = started.result(_STOP_S)
        port = self._server.sockets[0].getsockname()[1]
        self.url = self._target._replace(netloc=f"127.0.0.1:{port}").geturl()
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._stop(), self._loop).result(_STOP_S)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_STOP_S)
        self._loop.close()

    def turn_to(self, target_url: str) -> None:
        """Connections made from now on go elsewhere."""
        target = urlsplit(target_url)
        self._host, self._port = str(target.hostname), int(target.port or 80)

    async def _stop(self) -> None:
        self._server.close()
        for task in list(self._serving):
            task.cancel()
        await asyncio.gather(*self._serving, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(self._serve(reader, writer))
        self._serving.add(task)
        task.add_done_callback(self._serving.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        fault = self._plan()
        try:
            up_reader, up_writer = await asyncio.open_connection(self._host, self._port)
        except OSError:
            writer.close()
            return
        sent_up, ignored = bytearray(), bytearray()
        up, down = (fault if fault is not None and fault.way == way else None for way in ("up", "down"))
        pumps = [
            asyncio.ensure_future(self._pump(reader, up_writer, up, sent_up)),
            asyncio.ensure_future(self._pump(up_reader, writer, down, ignored)),
        ]
        try:
            done, _ = await asyncio.wait(pumps, return_when=asyncio.FIRST_EXCEPTION)
            if fault is not None and any(isinstance(pump.exception(), _Spoiled) for pump in done):
                self.spoiled.append(bytes(sent_up))
                if fault.kind == "reset":
                    for end in (writer, up_writer):
                        _reset(end)
        finally:
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)
            writer.close()
            up_writer.close()

    async def _pump(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, fault: Fault | None, last: bytearray
    ) -> None:
        passed_bytes = 0
        while data := await reader.read(_READ_BYTES):
            last += data
            del last[:-_REMEMBERED_BYTES]
            if fault is not None and passed_bytes + len(data) > fault.after_bytes:
                writer.write(data[: fault.after_bytes - passed_bytes])
                await writer.drain()
                data = data[fault.after_bytes - passed_bytes :]
                self.done[f"{fault.kind} {fault.way}"] += 1
                if fault.kind != "stall":
                    raise _Spoiled
                await asyncio.sleep(fault.stall_s)
                fault = None
            passed_bytes += len(data)
            writer.write(data)
            await writer.drain()
        if writer.can_write_eof():
            writer.write_eof()
        else:  # TLS has no half-closed connections
            writer.close()


def _reset(writer: asyncio.StreamWriter) -> None:
    end: socket.socket | None = writer.get_extra_info("socket")
    if end is not None and end.fileno() >= 0:
        end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
    writer.transport.abort()
