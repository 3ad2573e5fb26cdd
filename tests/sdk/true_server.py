"""A true HTTP/1.1 server on a real socket whose every byte, pause and fault is scripted, one act a request.

It is not a gateway: it plays exactly what a test writes down, so that a stream can be cut between two given bytes.
Runs an asyncio loop in a thread of its own. Units: seconds, bytes. Raises what the script did not foresee as a 599 answer.
"""

import asyncio
import json
import socket
import struct
import threading
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from types import TracebackType
from typing import Any, Self

CALL_ID = "0199f0a2-7c1e-7d22-9a51-6d2f5a0b1c3d"
HEADERS = {"x-request-id": CALL_ID, "content-type": "application/json"}


class Fault(Enum):
    """What may happen instead of the next bytes."""

    HOLD = "say nothing until the client hangs up"
    RESET = "reset the connection"
    CUT = "close the connection"


@dataclass(frozen=True)
class Slowly:
    """Bytes sent one piece at a time, with a pause before each; for ever where `endless`."""

    pieces: tuple[bytes, ...]
    pause_s: float
    endless: bool = False


Move = bytes | Fault | Slowly


@dataclass(frozen=True)
class Act:
    """What is done for one request, in order."""

    moves: tuple[Move, ...]


@dataclass(frozen=True)
class Received:
    method: str
    target: str
    headers: dict[str, str]
    body: bytes
    connection: int

    def json(self) -> dict[str, Any]:
        decoded: dict[str, Any] = json.loads(self.body)
        return decoded


def whole(body: object, status: int = 200, headers: Mapping[str, str] | None = None) -> Act:
    data = body if isinstance(body, bytes) else json.dumps(body, ensure_ascii=False).encode()
    return Act((head(status, {**HEADERS, **(headers or {}), "content-length": str(len(data))}) + data,))


def error(status: int, code: str, headers: Mapping[str, str] | None = None, message: str = "no") -> Act:
    return whole({"error": {"message": message, "type": "x", "param": None, "code": code}}, status, headers)


def stream(chunks: Iterable[bytes], *faults: Move) -> Act:
    """An SSE answer whose chunks arrive as they are given; then the body's end, or what is given instead."""
    start = head(200, {**HEADERS, "content-type": "text/event-stream", "transfer-encoding": "chunked"})
    return Act((start, *(framed(chunk) for chunk in chunks), *(faults or (b"0\r\n\r\n",))))


def head(status: int, headers: Mapping[str, str]) -> bytes:
    lines = [f"HTTP/1.1 {status} scripted", *(f"{name}: {value}" for name, value in headers.items()), "", ""]
    return "\r\n".join(lines).encode()


def framed(chunk: bytes) -> bytes:
    return f"{len(chunk):x}\r\n".encode() + chunk + b"\r\n"


@dataclass
class TrueServer:
    requests: list[Received] = field(default_factory=list)
    hang_ups: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    _script: deque[Act] = field(default_factory=deque)
    _connections: int = 0

    def play(self, *acts: Act) -> None:
        self._script.extend(acts)

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self._port}/v1"

    def saw_hang_up(self) -> bool:
        """Whether a client ended its connection while the server held it."""
        return self.hang_ups.acquire(timeout=5)

    def __enter__(self) -> Self:
        listener = socket.create_server(("127.0.0.1", 0))
        self._port = listener.getsockname()[1]
        self._loop = asyncio.new_event_loop()
        self._tasks: set[asyncio.Task[None]] = set()
        self._server = self._loop.run_until_complete(asyncio.start_server(self._accept, sock=listener))
        self._thread = threading.Thread(target=self._loop.run_forever, name="true-server")
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, raised: BaseException | None, trace: TracebackType | None
    ) -> None:
        asyncio.run_coroutine_threadsafe(self._stop(), self._loop).result(5)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)
        self._loop.close()

    async def _stop(self) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self._connections += 1
        try:
            await self._serve(reader, writer, self._connections)
        except (ConnectionError, asyncio.IncompleteReadError):
            self.hang_ups.release()
        except asyncio.CancelledError:
            pass  # the test is over
        finally:
            self._tasks.discard(task)
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, connection: int) -> None:
        while request := await _read_request(reader, connection):
            self.requests.append(request)
            act = self._script.popleft() if self._script else whole({"error": "the script is empty"}, 599)
            for move in act.moves:
                if not await self._perform(move, reader, writer):
                    return

    async def _perform(self, move: Move, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Whether the connection goes on."""
        if isinstance(move, bytes):
            writer.write(move)
            await writer.drain()
        elif isinstance(move, Slowly):
            await self._send_slowly(move, writer)
        elif move is Fault.HOLD:
            await reader.read(1)
            self.hang_ups.release()
            return False
        elif move is Fault.RESET:
            connection = writer.get_extra_info("socket")
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()
            return False
        else:
            return False
        return True

    async def _send_slowly(self, move: Slowly, writer: asyncio.StreamWriter) -> None:
        while True:
            for piece in move.pieces:
                await asyncio.sleep(move.pause_s)
                writer.write(piece)
                await writer.drain()
            if not move.endless:
                return


async def _read_request(reader: asyncio.StreamReader, connection: int) -> Received | None:
    try:
        start, *lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    except asyncio.IncompleteReadError:
        return None
    method, target, _ = start.split(" ")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines if line)}
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return Received(method, target, headers, body, connection)
