"""One shard of a real Valkey and an `Admission` on it, with the questions that the tests ask of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from billing.ledger.record import UsageRecord, from_wire_record
from billing.usage import Usage
from gateway.admission.admit import Admission
from gateway.admission.batch import Ticker, stream_key
from gateway.admission.counters import LedgerSync
from gateway.admission.offline import Shares
from gateway.admission.pipe import Pipe
from gateway.admission.standby import Standby
from gateway.call import Call, Hold, Outcome, Settlement
from gateway.spool.journal import Journal
from tests.gateway.values import Books

STREAM = stream_key(0)
BUCKET_MS = 100
WINDOW_BUCKETS = 601
PRICES_VERSION = 7


def open_redis(url: str) -> Redis:
    """As the composition root opens it: no retries of its own."""
    return Redis.from_url(url, retry=Retry(NoBackoff(), 0))


def open_pipe(url: str, timeout_s: float = 5.0) -> Pipe:
    """The hot path's own connection."""
    return Pipe(url, timeout_s=timeout_s, waiting_max=4096)


def url_of(redis: Redis) -> str:
    """The address that a client was opened with."""
    known = redis.connection_pool.connection_kwargs
    password = f":{known['password']}@" if known.get("password") else ""
    return f"redis://{password}{known['host']}:{known['port']}/{known.get('db', 0)}"


@dataclass
class Record:
    """One entry of the usage stream."""

    id: str
    account_id: str
    nano_usd: int
    scopes: list[str]
    taken: list[tuple[str, int, int]]
    usage: UsageRecord

    def done(self) -> tuple[str, str, int, list[str]]:
        """As the drain acknowledges it."""
        return self.id, self.account_id, self.nano_usd, self.scopes


@dataclass
class Shard:
    """A worker's view of shard 0."""

    redis: Redis
    books: Books = field(default_factory=Books)
    timeout_s: float = 5.0
    batch_max: int = 128
    stream_max: int = 1000
    hold_s: float = 60.0
    folder: Path = Path("/dev/null/there is no disk")
    journal_max_bytes: int = 0
    share_nano: int = 0

    def __post_init__(self) -> None:
        self.pipe = open_pipe(url_of(self.redis), self.timeout_s)
        self.ticker = Ticker(self.pipe, batch_max=self.batch_max, stream_max=self.stream_max)
        ledger = LedgerSync(self.ticker, self.books.read, shards=1)
        self.journal = Journal(self.folder, max_bytes=self.journal_max_bytes)
        shares = Shares(self.share_nano, scopes_max=100)
        self.standby = Standby(self.ticker, self.journal, shares, ledger, self.books.settled, shards=1)
        self.admission = Admission(
            self.ticker, ledger, self.standby, shards=1, hold_s=self.hold_s, settle_retry_s=0.2, settled_memory_s=30
        )

    async def admit(self, call: Call) -> Hold:
        return await self.admission.admit(call, PRICES_VERSION)

    async def settle(self, hold: Hold, usage: Usage) -> Settlement:
        return await self.admission.settle(hold, Outcome(usage))

    async def ask(self, *operation: Any) -> list[Any]:
        return await self.ticker.ask(0, operation)

    async def in_hand(self, call: Call) -> tuple[int, int, int]:
        """(counted, pending, held) of the account's month, in nano-USD."""
        rows, _ = await self.admission.in_hand(call.caller.account_id, [f"m:{call.month}"])
        return rows[0][0], rows[0][1], rows[0][2]

    async def grants_left(self, account_id: str) -> dict[str, int]:
        _, grants = await self.admission.in_hand(account_id, [])
        return {grant[0]: grant[3] for grant in grants}

    async def records(self) -> list[Record]:
        """The usage stream, oldest first."""
        entries: Any = await self.redis.xrange(STREAM)
        return [
            Record(
                entry_id.decode(),
                fields[b"a"].decode(),
                int(fields[b"n"]),
                msgspec.msgpack.decode(fields[b"m"]),
                msgspec.msgpack.decode(fields[b"g"], type=list[tuple[str, int, int]]),
                from_wire_record(fields[b"r"]),
            )
            for entry_id, fields in entries
        ]

    async def now_ms(self) -> int:
        """Redis's clock."""
        seconds, microseconds = await self.redis.time()
        return int(seconds) * 1000 + int(microseconds) // 1000

    async def fill_window(self, what: str, scope: str, buckets: Sequence[tuple[int, int]]) -> None:
        """Write a window as if calls had come in these (bucket, count), oldest first."""
        key = f"{{s0}}:w:{what}:{scope}"
        await self.redis.delete(key, f"{key}:o")
        await self.redis.hset(key, mapping={str(bucket): count for bucket, count in buckets})
        await self.redis.hset(key, "s", str(sum(count for _, count in buckets)))
        await self.redis.rpush(f"{key}:o", *[str(bucket) for bucket, _ in buckets])

    async def dump(self) -> dict[str, Any]:
        """Everything that Redis holds, without what depends on the instant: buckets are added up, expiries left out."""
        found: dict[str, Any] = {}
        names: Any = await self.redis.keys("*")
        for raw in sorted(names):
            key, kind = raw.decode(), await self.kind_of(raw)
            if key.endswith(":o"):
                continue
            found[key] = await self._value(key, kind)
        return found

    async def kind_of(self, key: bytes) -> str:
        kind: Any = await self.redis.type(key)
        return str(kind.decode())

    async def _value(self, key: str, kind: str) -> Any:
        if kind == "hash":
            fields: Any = await self.redis.hgetall(key)
            values = {name.decode(): int(value) for name, value in fields.items()}
            if ":w:" not in key:
                return values
            assert values["s"] == sum(count for name, count in values.items() if name != "s"), key
            return values["s"]
        if kind == "zset":
            return sorted(await self.redis.zrange(key, 0, -1))
        if kind == "stream":
            return [(*record.done()[1:], record.taken, record.usage) for record in await self.records()]
        value: Any = await self.redis.get(key)
        if ":h:" not in key and ":g:" not in key:
            return value
        packed = msgspec.msgpack.decode(value)
        return packed[:6] + packed[7:] if packed[0] == "held" else packed
