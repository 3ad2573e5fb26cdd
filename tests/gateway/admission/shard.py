"""One shard of a real Valkey and an `Admission` on it, with the questions that the tests ask of it."""

from __future__ import annotations

import struct
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
from gateway.admission.admit import Admission, Patience
from gateway.admission.batch import Ticker, stream_key
from gateway.admission.history import LedgerSync
from gateway.admission.offline import Shares
from gateway.admission.pipe import Pipe
from gateway.admission.records import with_counts
from gateway.admission.standby import OfflineRules, Standby
from gateway.call import Call, Hold, Outcome, Settlement
from gateway.meter.learned import PromptRatios
from gateway.spool.journal import Journal
from tests.gateway.values import Books

STREAM = stream_key(0)
BUCKET_MS = 100
WINDOW_BUCKETS = 601
PRICES_VERSION = 7
NO_RULES = OfflineRules()


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


def _counts(fields: Any, name: bytes) -> list[int]:
    return msgspec.msgpack.decode(fields[name], type=list[int]) if name in fields else []


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
    wait_s: float = 0.0
    ratios_max: int = 0
    rules: OfflineRules = NO_RULES

    def __post_init__(self) -> None:
        self.pipe = open_pipe(url_of(self.redis), self.timeout_s)
        self.ticker = Ticker(self.pipe, batch_max=self.batch_max, stream_max=self.stream_max)
        ledger = LedgerSync(self.ticker, self.books.read, shards=1)
        self.journal = Journal(self.folder, max_bytes=self.journal_max_bytes)
        shares = Shares(self.share_nano, scopes_max=100)
        self.standby = Standby(
            self.ticker, self.journal, shares, ledger, self.books.settled, shards=1, rules=self.rules
        )
        self.ratios = PromptRatios(entries_max=self.ratios_max)
        self.admission = Admission(
            self.ticker,
            ledger,
            self.standby,
            self.ratios,
            Patience(wait_s=self.wait_s, waiting_max=1000),
            shards=1,
            hold_s=self.hold_s,
            settle_retry_s=0.2,
            settled_memory_s=30,
        )

    async def admit(self, call: Call) -> Hold:
        return await self.admission.admit(call, PRICES_VERSION)

    async def settle(self, hold: Hold, usage: Usage) -> Settlement:
        return await self.admission.settle(hold, Outcome(usage))

    async def ask(self, *operation: Any) -> list[Any]:
        return await self.ticker.ask(0, operation)

    async def sent(self, hold: Hold, output_seen: int = 0, *, sent: int = 1) -> None:
        """Tell whether a call's request was sent, and what came of its answer; its lease stays as it is."""
        score: Any = await self.redis.zscore("{s0}:holds", hold.call.id.hex)
        assert (await self.ask("X", hold.call.id.hex, 60_000, sent, output_seen, -1, 0))[0] == "ok"
        await self.redis.zadd("{s0}:holds", {hold.call.id.hex: score})

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
                with_counts(from_wire_record(fields[b"r"]), _counts(fields, b"u"), _counts(fields, b"b")),
            )
            for entry_id, fields in entries
        ]

    async def expire(self, call: Call) -> None:
        """Its worker has not renewed this call's hold in time."""
        assert await self.redis.zadd("{s0}:holds", {call.id.hex: 0}, xx=True, ch=True) == 1

    async def holds(self) -> int:
        """How many calls hold something."""
        return int(await self.redis.zcard("{s0}:holds"))

    async def now_ms(self) -> int:
        """Redis's clock."""
        seconds, microseconds = await self.redis.time()
        return int(seconds) * 1000 + int(microseconds) // 1000

    async def fill_window(self, scope: str, buckets: Sequence[tuple[int, int, int]]) -> None:
        """Write a window as if calls had come in these (bucket, requests, tokens), oldest first."""
        head = struct.pack("<ddI", sum(entry[1] for entry in buckets), sum(entry[2] for entry in buckets), 1)
        sizes = (5, 4, 6)
        entries = [n.to_bytes(size, "little") for entry in buckets for n, size in zip(entry, sizes, strict=True)]
        await self.redis.set(f"{{s0}}:w:{scope}", head + b"".join(entries))

    async def window(self, scope: str) -> list[tuple[int, int, int]]:
        """What is in a window: (bucket, requests, tokens), oldest first; its sums are those of its entries."""
        raw: Any = await self.redis.get(f"{{s0}}:w:{scope}")
        requests, tokens, first = struct.unpack_from("<ddI", raw)
        entries = [raw[at : at + 15] for at in range(20 + (first - 1) * 15, len(raw), 15)]
        live = [tuple(int.from_bytes(e[a:b], "little") for a, b in ((0, 5), (5, 9), (9, 15))) for e in entries]
        assert (requests, tokens) == (sum(e[1] for e in live), sum(e[2] for e in live)), scope
        return live  # type: ignore[return-value]

    async def account(self, account_id: str) -> dict[str, Any]:
        """The hash of an account: money as (counted, entries, pending, held), grants, numbers."""
        fields: Any = await self.redis.hgetall(f"{{s0}}:a:{account_id}")
        found: dict[str, Any] = {}
        for name, value in fields.items():
            if name.startswith(b"$"):
                found[name.decode()] = tuple(map(int, struct.unpack("<dddd", value)))
            else:
                found[name.decode()] = msgspec.msgpack.decode(value) if name == b"g" else int(value)
        return found

    async def dump(self) -> dict[str, Any]:
        """Everything that Redis holds, without what depends on the instant: windows are added up, expiries left out."""
        names: Any = await self.redis.keys("*")
        kept = [raw.decode() for raw in sorted(names) if raw.split(b":")[1] not in (b"era", b"workers", b"missing")]
        return {name: await self._value(name) for name in kept}

    async def _value(self, key: str) -> Any:
        _, what, *rest = key.split(":", 2)
        if what == "a":
            return await self.account(rest[0])
        if what == "w":
            entries = await self.window(rest[0])
            return sum(entry[1] for entry in entries), sum(entry[2] for entry in entries)
        if what == "holds":
            return sorted(await self.redis.zrange(key, 0, -1))
        if what == "usage":
            return [(*record.done()[1:], record.taken, record.usage) for record in await self.records()]
        value: Any = await self.redis.get(key)
        if what == "h" and value[:1] == b"H":
            return value[:25] + value[33:]  # without its bucket
        if what == "h" and value[:1] == b"S":
            return msgspec.msgpack.decode(value[1:])[:4]  # without the stream's id of its record
        return value
