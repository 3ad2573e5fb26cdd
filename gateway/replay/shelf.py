"""The claims on Idempotency-Keys and the kept answers, in Redis, for all replicas.

A claim is taken before the call is admitted, and freed where upstream never began to answer. From upstream's 2xx on it is remembered for
`keep_s`. Until the call has ended it lives by a lease, which its worker renews: of a worker that dies, a claim that upstream had not
begun to answer can be taken over after the lease, as another attempt of the same call; one that it had is answered with "gone", because it
was served and is charged.
A Redis that may have forgotten the last second gives no key away before all live workers have told it again what they know (`tell_again`):
the calls under way, and those that have ended since a heartbeat found it alive.
While Redis is away the notes of this machine say whose a key is (`notes.py`), and a free one is taken there. That is enough only where
no worker of another machine may have it: else the call is refused (`unknown`), or, with `serve_unknown`, goes on and says that a repeat may
be another call.
Units: seconds, ms, bytes. Errors: none of its own; what Redis refuses is logged once in a row and counts as away.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import structlog
from redis.exceptions import RedisError, ResponseError

from gateway.replay.notes import Noted, Notes, NotesAway
from gateway.replay.seal import Seal

SCRIPT = (Path(__file__).parent / "scripts" / "claims.lua").read_text(encoding="utf-8")
_SHA = hashlib.sha1(SCRIPT.encode()).hexdigest()  # noqa: S324 - the name that Redis gives a script
_RENEWALS_A_LEASE = 3
_RENEWED_AT_ONCE_MAX = 64
_FORGOTTEN_S = 5.0
"""What a living Redis was told longer ago, a failover does not forget."""
_TOLD_WAIT_S, _TOLD_POLL_S = 10.0, 0.05
_LIVE_S = 4.0
"""Shorter than the heartbeats' own, so that no dead worker of this machine is counted for a living one of another."""
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
    serve_unknown: bool = False
    """Serve a key, while Redis is away, that a worker of another machine may have."""


@dataclass(slots=True, eq=False)
class Claim:
    """A call's claim on a key. `state`: claimed · begun · done · freed · unknown (nobody could be asked, or another call has it now)."""

    seal: Seal
    shard: int
    call_id: str
    digest: str
    state: str = "claimed"
    origin: str = ""
    """The call that this is an attempt of: its own, or that of a worker that died before upstream began to answer."""
    attempts_before: int = 0
    alone: bool = False
    """It is noted on this machine alone: Redis has not heard of it yet."""

    @property
    def note(self) -> tuple[str, str, str, str]:
        return self.seal.name, self.call_id, self.digest, self.origin

    @property
    def keys(self) -> tuple[str, ...]:
        tag, name = f"{{s{self.shard}}}", self.seal.name
        return f"{tag}:x:{name}", f"{tag}:xa:{name}", f"{tag}:x.answers", f"{tag}:x.bytes", f"{tag}:x.hours"


@dataclass(frozen=True, slots=True)
class Found:
    """Another call has the key. `what`: running · gone · other (another request) · answer · unknown (nobody can say whether one has)."""

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

    def __init__(
        self, ask: Ask, bounds: ShelfBounds, notes: Notes | None = None, live_workers: Callable[[], int] = int
    ) -> None:
        """`live_workers`: of all machines, as Redis last said; 0 where it never did."""
        self._ask = ask
        self._bounds = bounds
        self._notes = notes
        self._live_workers = live_workers
        self._confirmed_s = [float("-inf")] * bounds.shards
        self._lease_ms, self._keep_ms = int(bounds.lease_s * 1000), bounds.keep_s * 1000
        self._open: set[Claim] = set()
        self._ended: deque[_Ended] = deque()
        self._ended_bytes = 0
        self._renewing: asyncio.Task[None] | None = None
        self._away = False

    async def claim(self, seal: Seal, shard: int, call_id: str, digest: str) -> Claim | Found:
        """Take the key for a call, or find who has it."""
        claim = Claim(seal, shard, call_id, digest, origin=call_id)
        reply = await self._claimed(claim)
        if reply is None:
            return self._claim_alone(claim)
        what = reply[0]
        if what == b"wait":
            return Found("unknown", call_id)
        if what == b"full":
            claim.state = "unknown"
            return claim
        if what == b"again":
            claim.origin, claim.attempts_before = reply[1].decode(), int(reply[2])
        elif what != b"yours":
            return Found(what.decode(), reply[1].decode(), *reply[2:])
        other = self._noted(claim, known=what == b"again")
        if other is not None:
            await self.free(claim)
            return _found(other, digest)
        self._keep_alive(claim)
        return claim

    async def _claimed(self, claim: Claim) -> Any:
        """Redis's word, once it has been told everything; None where it is away."""
        claims_max = max(1, self._bounds.claims_max // self._bounds.shards)
        deadline = time.monotonic() + _TOLD_WAIT_S
        while True:
            reply = await self._step(claim, "claim", self._lease_ms, self._keep_ms, claims_max)
            if reply is None or reply[0] != b"wait" or time.monotonic() >= deadline:
                return reply
            await asyncio.sleep(_TOLD_POLL_S)

    def _noted(self, claim: Claim, *, known: bool) -> Noted | None:
        """Note a claim that Redis knows; returns the call that has it here all the same."""
        try:
            return None if self._notes is None else self._notes.share(*claim.note, known=known)
        except NotesAway:  # two faults at once are needed before it is missed
            return None

    def _claim_alone(self, claim: Claim) -> Claim | Found:
        """Redis is away: does a call have the key, as far as this machine knows, and can another machine know better?"""
        try:
            if self._notes is not None and 0 < self._live_workers() <= self._notes.readers(_LIVE_S):
                other = self._notes.take(*claim.note)
                if other is not None:
                    return _found(other, claim.digest)
                claim.alone = True
                self._keep_alive(claim)
                return claim
        except NotesAway:
            pass
        if not self._bounds.serve_unknown:
            return Found("unknown", claim.call_id)
        claim.state = "unknown"
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

    async def _keep(self, ended: _Ended, *, must: bool = False) -> None:
        total_max_bytes = self._bounds.total_max_bytes // self._bounds.shards
        replay_ms = int(self._bounds.replay_s * 1000)
        reply = await self._step(
            ended.claim, "keep", self._keep_ms, replay_ms, total_max_bytes, ended.sealed, must=must
        )
        ended.told_s = None if reply is None else time.monotonic()
        if reply is not None:
            self._told(ended.claim)

    def _remember(self, ended: _Ended) -> None:
        """Until Redis has been told, and will not forget it; of what is too much, the answer is forgotten first."""
        bounds = self._bounds
        while self._ended and (len(self._ended) >= bounds.recent_max or self._is_safe(self._ended[0])):
            self._ended_bytes -= len(self._ended.popleft().sealed)
        if self._ended_bytes + len(ended.sealed) > bounds.recent_max_bytes:
            ended.sealed = b""
        self._ended.append(ended)
        self._ended_bytes += len(ended.sealed)

    def _is_safe(self, ended: _Ended) -> bool:
        """Was Redis alive, with the history that it has, long after it was told?"""
        confirmed_s = self._confirmed_s[ended.claim.shard]
        return ended.told_s is not None and ended.told_s < confirmed_s - _FORGOTTEN_S

    async def tell_again(self, shard: int) -> None:
        """Redis is back, with what it had or with less: tell it what it may not know of this process's calls. Raises `OSError` where it
        is away again: it does not know all yet."""
        claims = [claim for claim in self._open if claim.shard == shard]
        await asyncio.gather(*(self._hold(claim, must=True) for claim in claims))
        for ended in [ended for ended in self._ended if ended.claim.shard == shard]:
            await self._keep(ended, must=True)

    def confirmed(self, shard: int) -> None:
        """A heartbeat found the Redis that this process knows."""
        self._confirmed_s[shard] = time.monotonic()
        if self._notes is not None:
            with suppress(NotesAway):
                self._notes.read_on()

    async def free(self, claim: Claim) -> None:
        """Upstream did not begin to answer: the key can be used again at once."""
        self._open.discard(claim)
        if claim.state == "claimed":
            claim.state = "freed"
            if self._notes is not None:
                with suppress(NotesAway):
                    self._notes.drop(claim.seal.name, claim.call_id)
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

    async def _hold(self, claim: Claim, *, must: bool = False) -> None:
        state = claim.state
        if state not in ("claimed", "begun"):
            return
        reply = await self._step(claim, "hold", state, self._lease_ms, self._keep_ms, must=must)
        if reply is None:
            return
        if reply[0] == b"lost":
            self._open.discard(claim)
            claim.state = "unknown"
        else:
            self._told(claim)

    def _told(self, claim: Claim) -> None:
        """Redis knows of it now."""
        if claim.alone and self._notes is not None:
            claim.alone = False
            with suppress(NotesAway):
                self._notes.told(claim.seal.name, claim.call_id)

    # ---- Redis --------------------------------------------------------------------------------------------------------------

    async def _step(self, claim: Claim, step: str, *arguments: bytes | str | int, must: bool = False) -> Any:
        """The script's reply; None where Redis is away, or refuses; `must`: where it is away, that is raised."""
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
            if must and isinstance(error, OSError):
                raise
            return None
        self._away = False
        return reply


def _found(noted: Noted, digest: str) -> Found:
    if noted.digest != digest:
        return Found("other", noted.call_id)
    return Found("gone" if noted.has_ended else "running", noted.call_id)
