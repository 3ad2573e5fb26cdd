"""Records of the usage stream that nobody can read, or that the ledger's database cannot store: set aside, bounded, shown.

Each goes to its shard's `…:unreadable` stream under the id that it had, once, however often it is tried; only then is it taken off the
usage stream, and what it had moved of the counters is given back in the same step. The stream keeps the newest `kept_max`; every one is
in the log in full as well, so that none goes without a trace. They hold ids, counts and prices, and nothing of what was said.
Errors: what redis-py raises; `StoreUnavailable`; `ServiceUnavailable` where an operator asks and Redis is away.
"""

from __future__ import annotations

import asyncio
import base64
from datetime import UTC, datetime
from typing import Any

import structlog
from redis.exceptions import RedisError

from billing.ledger.record import from_wire_record
from gateway.admission.batch import Ticker, stream_key
from gateway.admission.connect import AnyRedis
from gateway.drain.message import UNREADABLE, Fields, from_wire_moved
from gateway.errors import ServiceUnavailable
from gateway.metrics import UNREADABLE_RECORDS

log = structlog.get_logger("drain")
_WHY, _AT = b"why", b"at"
_KEEP = """
-- KEYS: the unreadable stream · ARGV: the record's id, how many are kept, fields and values → 1 it is there
local id, kept_max = ARGV[1], ARGV[2]
if #redis.call('XRANGE', KEYS[1], id, id) == 0 then
  local added = redis.pcall('XADD', KEYS[1], 'MAXLEN', kept_max, id, unpack(ARGV, 3))
  -- a younger one was set aside before it: then under an id of its own
  if type(added) == 'table' then redis.call('XADD', KEYS[1], 'MAXLEN', kept_max, '*', unpack(ARGV, 3)) end
end
return 1
"""


def unreadable_key(shard: int) -> str:
    """Where a shard's unreadable records lie; in the cluster slot of the shard."""
    return stream_key(shard).replace(":usage", ":unreadable")


class Aside:
    """Sets records aside."""

    def __init__(self, redis: AnyRedis, ticker: Ticker, *, kept_max: int) -> None:
        self._redis = redis
        self._ticker = ticker
        self._kept_max = kept_max

    async def put(self, shard: int, message_id: bytes, fields: Fields, error: Exception) -> None:
        """Set one aside; it holds nothing up any more."""
        try:
            moved = from_wire_moved(fields)
        except UNREADABLE:
            moved = None
        kept = {**fields, _WHY: type(error).__name__.encode(), _AT: datetime.now(UTC).isoformat().encode()}
        if moved is not None:
            kept[b"n"] = b"0"  # put back on the usage stream one day, it has nothing to give back any more
        flat = [part for field in kept.items() for part in field]
        told = {name.decode("latin-1"): base64.b64encode(value).decode() for name, value in fields.items()}
        log.error(
            "unreadable_record", shard=shard, id=message_id.decode(), kind=type(error).__name__, fields_base64=told
        )
        await self._redis.eval(_KEEP, 1, unreadable_key(shard), message_id, self._kept_max, *flat)
        if moved is None:
            await self._redis.xdel(stream_key(shard), message_id)
        else:
            done = (message_id.decode(), moved.account_id, moved.nano_usd, moved.scopes)
            await self._ticker.ask(shard, ("D", [done], [], 0))
        UNREADABLE_RECORDS.inc()


async def waiting(redis: AnyRedis, shards: int) -> int:
    """How many lie there, over all shards that answer."""
    lengths = await asyncio.gather(*(redis.xlen(unreadable_key(n)) for n in range(shards)), return_exceptions=True)
    return sum(length for length in lengths if isinstance(length, int))


async def unreadable(redis: AnyRedis, shards: int, count_max: int) -> list[dict[str, Any]]:
    """The newest of each shard, as an operator sees them."""
    found: list[dict[str, Any]] = []
    try:
        for shard in range(shards):
            entries: Any = await redis.xrevrange(unreadable_key(shard), count=count_max - len(found))
            found += [_to_wire_unreadable(shard, entry_id, fields) for entry_id, fields in entries]
            if len(found) >= count_max:
                break
    except (RedisError, OSError, TimeoutError):
        raise ServiceUnavailable from None
    return found


def _to_wire_unreadable(shard: int, entry_id: bytes, fields: Fields) -> dict[str, Any]:
    own = {name: value for name, value in fields.items() if name not in (_WHY, _AT)}
    return {
        "shard": shard,
        "id": entry_id.decode(),
        "call_id": _call_id_of(own),
        "account_id": fields[b"a"].decode("latin-1") if b"a" in fields else None,
        "reason": fields.get(_WHY, b"").decode("latin-1"),
        "set_aside_at": fields.get(_AT, b"").decode("latin-1") or None,
        "fields_base64": {name.decode("latin-1"): base64.b64encode(value).decode() for name, value in own.items()},
    }


def _call_id_of(fields: Fields) -> str | None:
    try:
        return str(from_wire_record(fields[b"r"]).uuid)
    except UNREADABLE:
        return None
