"""One script call per event-loop tick and shard, one write per tick and node.

Everything that the calls of one tick ask of a shard goes out as one FCALL: the round trip and the client's own cost are shared
(8–12 µs an operation instead of 140–240, design.md section 8). The script runs the operations in the order in which they were asked.
It is a library of Redis functions (Redis 7, any Valkey), named by what it says, so that two releases side by side each call their own;
a Redis that does not know it is given it with the next call.
Errors: `StoreUnavailable` when Redis did not answer in time; whether the operations took effect is then unknown.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
from redis.exceptions import ResponseError

from gateway.admission.connect import AnyPipe
from gateway.admission.pipe import Command, StoreBusy, StoreUnavailable

_SCRIPTS = Path(__file__).parent / "scripts"
_TICK = "\n".join(
    (_SCRIPTS / f"{part}.lua").read_text(encoding="utf-8")
    for part in ("state", "windows", "money", "holds", "history", "guesses", "books")
)

Reply = list[Any]
NAME = f"solar_tick_{hashlib.sha256(_TICK.encode()).hexdigest()[:16]}"
_NAME_WHEN_FULL = f"{NAME}_when_full"
"""The same, for ticks that Redis runs even where it is out of memory: what acknowledges records makes room."""
LIBRARY = f"""#!lua name={NAME}
{_TICK}
redis.register_function('{NAME}', tick)
redis.register_function{{function_name = '{_NAME_WHEN_FULL}', callback = tick, flags = {{'allow-oom'}}}}
"""
_LOAD: Command = ("FUNCTION", "LOAD", LIBRARY)
_LOADS_MAX = 3
_ACKNOWLEDGES = "D"
_NAME_AT = 1
_AWAY = ("LOADING", "READONLY", "OOM", "MASTERDOWN", "MISCONF", "BUSY", "CLUSTERDOWN", "TRYAGAIN", "NOREPLICAS")
"""Refusals that pass: it loads its data, lost its master, is full, hangs in a script, is on the move."""
_NOT_LOADED = "ERR Function not found"
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(list[Reply]).decode


class Circuit:
    """Which shards do not answer just now; whoever asks one of them is refused at once. Closed at first, of one event loop.

    One opens when Redis broke the connection, refused for a passing reason or did not answer in time (the pipe's timeout), and closes
    when a probe of the standby went through and what it had to put right is right.
    """

    def __init__(self) -> None:
        self.open_since: dict[int, float] = {}
        """Shards, and when they did not answer for the first time, on the monotonic clock."""
        self.opened = asyncio.Event()
        """Something has opened since this was last cleared."""

    def is_open(self, shard: int) -> bool:
        return shard in self.open_since

    def failed(self, shard: int) -> None:
        """It did not answer."""
        if shard not in self.open_since:
            self.open_since[shard] = time.monotonic()
            self.opened.set()

    def works(self, shard: int) -> None:
        """It answers again."""
        self.open_since.pop(shard, None)

    def open_for_s(self, shard: int) -> float:
        """How long it has not answered; 0 where it does."""
        return time.monotonic() - self.open_since[shard] if shard in self.open_since else 0.0

    @property
    def open_shards(self) -> frozenset[int]:
        return frozenset(self.open_since)


class CircuitOpen(StoreUnavailable):
    """The operation was not sent: its shard does not answer just now."""


class _Batch:
    """One script call: the command with its packed operations, and who waits for the reply to each."""

    __slots__ = ("command", "shard", "waiting")

    def __init__(self, shard: int, stream_max: int) -> None:
        self.shard = shard
        self.command: list[bytes | str | int] = ["FCALL", NAME, 1, stream_key(shard), stream_max]
        self.waiting: list[asyncio.Future[Reply]] = []

    def resolve(self, packed: bytes) -> None:
        """The script's replies, in the order of its operations."""
        try:
            replies = _decode(packed)
        except msgspec.DecodeError:
            self.fail(StoreUnavailable("what answered is no Redis of ours"))
            return
        for future, reply in zip(self.waiting, replies, strict=True):
            if future.done():
                continue
            if reply[0] == "defect":
                future.set_exception(ResponseError(reply[1]))
            else:
                future.set_result(reply)

    def fail(self, error: Exception) -> None:
        """Nobody knows whether the operations took effect."""
        for future in self.waiting:
            if not future.done():
                future.set_exception(error)
                future.exception()  # an asker that is gone is no error of ours


class Ticker:
    """Collects operations and sends those of one tick together."""

    def __init__(self, pipe: AnyPipe, *, batch_max: int, stream_max: int) -> None:
        self._pipe = pipe
        self._batch_max = batch_max
        self._stream_max = stream_max
        self._batches: list[_Batch] = []
        self._open: dict[int, _Batch] = {}
        """Of these, the ones that have room for more operations of their shard."""
        self._sent: set[asyncio.Future[Any]] = set()
        self.circuit: Circuit | None = None
        """Where somebody probes the shards that do not answer, asking one of them fails at once."""

    def ask(self, shard: int, operation: Sequence[Any], *, through: bool = False) -> asyncio.Future[Reply]:
        """Queue an operation for the end of this tick; the future has the script's reply to it. `through` an open circuit as well."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Reply] = loop.create_future()
        if self.circuit is not None and shard in self.circuit.open_since and not through:
            future.set_exception(CircuitOpen("Redis does not answer just now"))
            future.exception()  # an asker that is gone is no error of ours
            return future
        batch = self._open.get(shard)
        if batch is None:
            if not self._batches:
                loop.call_soon(self._send_all)
            batch = self._open[shard] = _Batch(shard, self._stream_max)
            self._batches.append(batch)
        batch.command.append(_encode(operation))
        batch.waiting.append(future)
        if operation[0] == _ACKNOWLEDGES:
            batch.command[_NAME_AT] = _NAME_WHEN_FULL
        if len(batch.waiting) >= self._batch_max:
            del self._open[shard]
        return future

    def _send_all(self) -> None:
        batches, self._batches = self._batches, []
        self._open.clear()
        commands = [tuple(batch.command) for batch in batches]
        for batch, sent in zip(batches, self._pipe.ask_many(commands), strict=True):
            self._expect(batch, sent, _LOADS_MAX)

    def lengths(self, shards: int) -> list[asyncio.Future[int]]:
        """How many records each shard's usage stream holds; asked in one write a node."""
        return self._pipe.ask_many([("XLEN", stream_key(shard)) for shard in range(shards)])

    def _expect(self, batch: _Batch, sent: asyncio.Future[Any], loads_left: int) -> None:
        self._sent.add(sent)
        sent.add_done_callback(partial(self._answered, batch, loads_left))

    def _answered(self, batch: _Batch, loads_left: int, sent: asyncio.Future[Any]) -> None:
        self._sent.discard(sent)
        if sent.cancelled():
            batch.fail(StoreUnavailable("the gateway is stopping"))
            return
        error = sent.exception()
        if loads_left and isinstance(error, ResponseError) and str(error) == _NOT_LOADED:
            # A new Redis, or one that was emptied: nothing of this batch has run yet.
            self._expect(batch, self._pipe.ask_behind(_LOAD, tuple(batch.command)), loads_left - 1)
        elif isinstance(error, ResponseError) and not str(error).startswith(_AWAY):
            batch.fail(error)
        elif error is not None:
            if self.circuit is not None and not isinstance(error, StoreBusy):
                self.circuit.failed(batch.shard)
            batch.fail(StoreUnavailable(type(error).__name__))
        else:
            batch.resolve(sent.result())

    async def close(self) -> None:
        """Send what is queued, wait for what is under way, then leave."""
        self._send_all()
        await self._pipe.close()


def stream_key(shard: int) -> str:
    """The usage stream of a shard; its hash tag is the shard, so that all its keys share one cluster slot."""
    return f"{{s{shard}}}:usage"


def shard_of(account_id: str, shards: int) -> int:
    """The shard to which an account belongs, for good: its id ends in random hex digits."""
    return int(account_id[-8:], 16) % shards
