"""The claims on Idempotency-Keys and the kept answers, in Redis, for all replicas.

A claim is taken before the call is admitted, and freed where upstream never began to answer. From upstream's 2xx on it is remembered for
`keep_s`. Until the call has ended it lives by a lease, which its worker renews: of a worker that dies, a claim that upstream had not
begun to answer can be taken over after the lease, as another attempt of the same call; one that it had is answered with "gone", because it
was served and is charged.
While Redis is away claims are neither found nor made: the call goes on and its answer says so (two faults, a lost answer and a lost
Redis, can make a retry a second call). What it could not be told of calls that ended meanwhile, and what a failover may have forgotten,
it is told again when it is back (`tell_again`): calls under way, and those that ended within the last seconds.
Units: seconds, ms, bytes. Errors: none of its own; what Redis refuses is logged once in a row and counts as away.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections import deque
from collections.abc import Awaitable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import structlog
from redis.exceptions import RedisError, ResponseError

from gateway.replay.seal import Seal

SCRIPT = (Path(__file__).parent / "scripts" / "claims.lua").read_text(encoding="utf-8")
_SHA = hashlib.sha1(SCRIPT.encode()).hexdigest()  # noqa: S324 - the name that Redis gives a script
_RENEWALS_A_LEASE = 3
_RENEWED_AT_ONCE_MAX = 64
_FORGOTTEN_S = 5.0
"""What ended longer ago, a failover has not forgotten."""
log = structlog.get_logger("replay")


class Ask(Protocol):
    """Sends a command to where a shard lives. Raises `OSError` where nobody answers, `ResponseError` where Redis refuses."""

    def __call__(self, shard: int, *command: bytes | str | int) -> Awaitable[Any]: ...


@dataclass(frozen=True, slots=True)
class ShelfBounds:
    """How long, and how much. Totals are of all shards together."""

    shards: int
    keep_s: int
    replay_s: float
    lease_s: float
    total_max_bytes: int
    claims_max: int
    recent_max_bytes: int = 16 * 1024 * 1024
    """Sealed answers of the last seconds, in this process."""
    recent_max: int = 10_000


@dataclass(slots=True, eq=False)
class Claim:
    """A call's claim on a key. `state`: claimed · begun · done · freed · unknown (Redis was away, or another call has it now)."""

    seal: Seal
    shard: int
    call_id: str
    digest: str
    state: str = "claimed"
    origin: str = ""
    """The call that this is an attempt of: its own, or that of a worker that died before upstream began to answer."""
    attempts_before: int = 0

    @property
    def keys(self) -> tuple[str, ...]:
        tag, name = f"{{s{self.shard}}}", self.seal.name
        return f"{tag}:x:{name}", f"{tag}:xa:{name}", f"{tag}:x.answers", f"{tag}:x.bytes", f"{tag}:x.hours"


@dataclass(frozen=True, slots=True)
class Found:
    """Another call has the key. `what`: running · gone · other (another request) · answer."""

    what: str
    call_id: str
    sealed: bytes = b""


@dataclass(slots=True)
class _Ended:
    """A call that has ended, and what was to be kept of it; `told_s` on the monotonic clock, None where Redis did not take it."""

    claim: Claim
    sealed: bytes
    told_s: float | None


class Shelf:
    """The claims that this process holds, and the way to all others."""

    def __init__(self, ask: Ask, bounds: ShelfBounds) -> None:
        self._ask = ask
        self._bounds = bounds
        self._lease_ms, self._keep_ms = int(bounds.lease_s * 1000), bounds.keep_s * 1000
        self._open: set[Claim] = set()
        self._ended: deque[_Ended] = deque()
        self._ended_bytes = 0
        self._renewing: asyncio.Task[None] | None = None
        self._away = False

    async def claim(self, seal: Seal, shard: int, call_id: str, digest: str) -> Claim | Found:
        """Take the key for a call, or find who has it."""
        claim = Claim(seal, shard, call_id, digest, origin=call_id)
        claims_max = max(1, self._bounds.claims_max // self._bounds.shards)
        reply = await self._step(claim, "claim", self._lease_ms, self._keep_ms, claims_max)
        if reply is None or reply[0] == b"full":
            claim.state = "unknown"
        elif reply[0] == b"again":
            claim.origin, claim.attempts_before = reply[1].decode(), int(reply[2])
            self._keep_alive(claim)
        elif reply[0] != b"yours":
            return Found(reply[0].decode(), reply[1].decode(), *reply[2:])
        else:
            self._keep_alive(claim)
        return claim

    async def begin(self, claim: Claim) -> None:
        """Upstream has begun to answer: from now on the key is remembered."""
        claim.state = "begun"
        self._keep_alive(claim)
        await self._hold(claim)

    async def finish(self, claim: Claim, answer: bytes | None) -> None:
        """The call has ended; keep its answer, if there is one and there is room."""
        self._open.discard(claim)
        if claim.state != "begun":
            return
        claim.state = "done"
        ended = _Ended(claim, b"" if answer is None else claim.seal.close(claim.origin, answer), None)
        await self._keep(ended)
        self._remember(ended)

    async def _keep(self, ended: _Ended) -> None:
        total_max_bytes = self._bounds.total_max_bytes // self._bounds.shards
        replay_ms = int(self._bounds.replay_s * 1000)
        reply = await self._step(ended.claim, "keep", self._keep_ms, replay_ms, total_max_bytes, ended.sealed)
        ended.told_s = None if reply is None else time.monotonic()

    def _remember(self, ended: _Ended) -> None:
        """For a few seconds, or until Redis can be told; of what is too much, the answer is forgotten first."""
        bounds, long_ago_s = self._bounds, time.monotonic() - _FORGOTTEN_S
        while self._ended and (
            len(self._ended) >= bounds.recent_max
            or (self._ended[0].told_s is not None and self._ended[0].told_s < long_ago_s)
        ):
            self._ended_bytes -= len(self._ended.popleft().sealed)
        if self._ended_bytes + len(ended.sealed) > bounds.recent_max_bytes:
            ended.sealed = b""
        self._ended.append(ended)
        self._ended_bytes += len(ended.sealed)

    async def tell_again(self, shard: int) -> None:
        """Redis is back, with what it had or with less: tell it what it may not know of this process's calls."""
        await asyncio.gather(*(self._hold(claim) for claim in list(self._open) if claim.shard == shard))
        for ended in [ended for ended in self._ended if ended.claim.shard == shard]:
            await self._keep(ended)

    async def free(self, claim: Claim) -> None:
        """Upstream did not begin to answer: the key can be used again at once."""
        self._open.discard(claim)
        if claim.state == "claimed":
            claim.state = "freed"
            await self._step(claim, "free")

    # ---- leases -------------------------------------------------------------------------------------------------------------

    def _keep_alive(self, claim: Claim) -> None:
        self._open.add(claim)
        if self._renewing is None or self._renewing.done():
            self._renewing = asyncio.ensure_future(self._renew())

    async def _renew(self) -> None:
        """Renew the leases of the calls under way, until there are none."""
        while self._open:
            await asyncio.sleep(self._bounds.lease_s / _RENEWALS_A_LEASE)
            claims = list(self._open)
            for start in range(0, len(claims), _RENEWED_AT_ONCE_MAX):
                await asyncio.gather(*map(self._hold, claims[start : start + _RENEWED_AT_ONCE_MAX]))

    async def _hold(self, claim: Claim) -> None:
        state = claim.state
        if state not in ("claimed", "begun"):
            return
        reply = await self._step(claim, "hold", state, self._lease_ms, self._keep_ms)
        if reply is not None and reply[0] == b"lost":
            self._open.discard(claim)
            claim.state = "unknown"

    # ---- Redis --------------------------------------------------------------------------------------------------------------

    async def _step(self, claim: Claim, step: str, *arguments: bytes | str | int) -> Any:
        """The script's reply; None where Redis is away."""
        keys = claim.keys
        command = (len(keys), *keys, step, claim.call_id, claim.digest, claim.origin, *arguments)
        try:
            try:
                reply = await self._ask(claim.shard, "EVALSHA", _SHA, *command)
            except ResponseError as error:
                if not str(error).startswith("NOSCRIPT"):
                    raise
                reply = await self._ask(claim.shard, "EVAL", SCRIPT, *command)
        except (RedisError, OSError) as error:
            if not self._away:
                log.warning("replay_store_away", kind=type(error).__name__)
            self._away = True
            return None
        self._away = False
        return reply
