"""What a call with an Idempotency-Key does besides: claim the key, keep the answer, or answer again what was answered before.

The door of such a call is wrapped: what goes through it is recorded, kept before its last byte leaves, and a hang-up cancels nothing.
Without the header none of this is touched. A claim is freed before its refusal leaves, so that a retry finds it free. Where the worker of
the first attempt died before upstream answered it, the next attempt is the same call: one id, one entry, its attempts counted.
Errors: `InvalidRequest` for a key that cannot be one, `IdempotencyInProgress`, `IdempotencyReplayGone`, `IdempotencyMismatch`,
`IdempotencyUnknown`.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from uuid import UUID

import msgspec

from gateway.errors import (
    GatewayError,
    IdempotencyInProgress,
    IdempotencyMismatch,
    IdempotencyReplayGone,
    IdempotencyUnknown,
    InvalidRequest,
    NotBooked,
)
from gateway.keys.address import Address
from gateway.metrics import IDEMPOTENT_CALLS
from gateway.replay.answer import (
    Budget,
    KeptAnswer,
    Recording,
    failure_of,
    from_wire_answer,
    kept_failure,
    to_wire_answer,
)
from gateway.replay.seal import BrokenSeal, Seal
from gateway.replay.shelf import Claim, Found, Shelf
from gateway.trip import Door, HangUp, Trip

KEY_CHARACTERS_MAX = 255
_PRINTABLE = re.compile(rb"[ -~]{1,%d}" % KEY_CHARACTERS_MAX)
_RETRY_AFTER_S = 1
_LATE_S = 900.0
"""How long an answer is held back for a settlement that is owed; later it is gone."""
_REPLAYED = {"x-solar-replayed": "true"}


class Repeats:
    """The idempotent calls of one process."""

    def __init__(
        self, shelf: Shelf, shard_of: Callable[[str], int], *, answer_max_bytes: int, memory_max_bytes: int
    ) -> None:
        self._shelf = shelf
        self._shard_of = shard_of
        self._answer_max_bytes = answer_max_bytes
        self._budget = Budget(memory_max_bytes)

    async def answered(self, trip: Trip, body: bytes) -> bool:
        """Answer the call from what was kept, and say so; else claim its key, and from here on keep what it is answered."""
        door, caller = trip.door, trip.caller_known
        seal = Seal(door.secret, caller.account_id, caller.key_id, _checked(door.idempotency_key))
        digest = seal.digest(door.endpoint.name, door.content_type, body)
        found = await self._shelf.claim(seal, self._shard_of(caller.account_id), trip.call_id, digest)
        if isinstance(found, Claim):
            IDEMPOTENT_CALLS.labels("nothing" if found.state == "claimed" else "unknown").inc()
            if found.state != "claimed":
                trip.headers["x-solar-idempotency"] = "off"
            trip.continue_call(UUID(found.origin), found.attempts_before)
            trip.door = trip.kept = KeepingDoor(
                door, self._shelf, found, Recording(self._budget, self._answer_max_bytes)
            )
            return False
        answer = _opened(seal, found)
        IDEMPOTENT_CALLS.labels("gone" if found.what == "answer" and answer is None else found.what).inc()
        if found.what == "other":
            raise IdempotencyMismatch
        if found.what == "unknown":
            raise IdempotencyUnknown
        if found.what == "running":
            raise IdempotencyInProgress(found.call_id, _RETRY_AFTER_S)
        if answer is None:
            raise IdempotencyReplayGone(found.call_id)
        trip.headers["x-request-id"] = found.call_id
        await _answer_again(door, answer)
        return True


class KeepingDoor:
    """A door that remembers what went through it, for whoever asks again with the same key."""

    def __init__(self, door: Door, shelf: Shelf, claim: Claim, recording: Recording) -> None:
        self._door = door
        self._shelf = shelf
        self._claim = claim
        self._recording = recording
        self._began = False
        self._late: asyncio.Task[None] | None = None
        self.endpoint, self.secret, self.content_type = door.endpoint, door.secret, door.content_type
        self.idempotency_key, self.secret_hash = door.idempotency_key, door.secret_hash
        self.whole_body, self.task = door.whole_body, door.task

    @property
    def started(self) -> bool:
        return self._door.started

    def address(self) -> Address | None:
        return self._door.address()

    def header(self, name: bytes) -> bytes | None:
        return self._door.header(name)

    async def read_body(self) -> bytes:
        return await self._door.read_body()

    async def upstream_began(self) -> None:
        self._began = True
        await self._shelf.begin(self._claim)

    async def start(self, status: int, headers: dict[str, str]) -> None:
        if self._began:
            self._recording.start(status, headers)
        else:
            await self._shelf.free(self._claim)
        await self._door.start(status, headers)

    def put(self, data: bytes) -> bool:
        self._recording.add(data)
        return self._door.put(data)

    def put_chunk(self, chunk: bytes) -> bool:
        """What is kept is kept without its frame."""
        return False

    async def drained(self) -> None:
        await self._door.drained()

    async def write(self, data: bytes) -> None:
        self._recording.add(data)
        await self._door.write(data)

    async def end(self, last: bytes = b"") -> None:
        self._recording.add(last)
        await self._keep(self._recording.answer())
        await self._door.end(last)

    async def answer(self, status: int, headers: dict[str, str], body: bytes) -> None:
        await self.start(status, {**headers, "content-length": str(len(body))})
        await self.end(body)

    async def refuse(self, error: GatewayError, headers: dict[str, str]) -> None:
        if self._late is not None:  # it is worth asking again, and costs nothing
            headers = {name: value for name, value in headers.items() if name != "x-should-retry"}
            headers["retry-after"] = str(_RETRY_AFTER_S)
        elif self._began:
            await self._keep(kept_failure(error, headers))
        else:
            await self._shelf.free(self._claim)
        await self._door.refuse(error, headers)

    def error_event(self, error: GatewayError) -> bytes:
        return self._door.error_event(error)

    def hang_up_cancels(self) -> HangUp:
        """It does not: whoever asks again gets the whole answer."""
        return ReadOn()

    def withhold(self, late: NotBooked, last: bytes, headers: dict[str, str] | None = None) -> None:
        """The call cannot be booked now, so that the rest of its answer may not leave; once it is, whoever asks again gets the whole of it.
        `headers`: of a whole answer, none of which has left; `last`: its body, or what a stream ends with."""
        if headers is not None:
            self._recording.start(200, {**headers, "content-length": str(len(last))})
        self._recording.add(last)
        self._late = asyncio.ensure_future(self._keep_late(late.booked, self._recording.answer()))

    async def _keep_late(self, booked: asyncio.Event, answer: KeptAnswer | None) -> None:
        """Until then the key is that of a call under way."""
        try:
            async with asyncio.timeout(_LATE_S):
                await booked.wait()
        except TimeoutError:
            answer = None
        await self._finish(answer)

    async def _keep(self, answer: KeptAnswer | None) -> None:
        if self._late is None:
            await self._finish(answer)

    async def _finish(self, answer: KeptAnswer | None) -> None:
        await self._shelf.finish(self._claim, None if answer is None else to_wire_answer(answer))
        self._recording.forget()

    async def close(self) -> None:
        """The call has ended, in whatever way. Safe to repeat."""
        if self._began:
            await self._keep(None)
        else:
            await self._shelf.free(self._claim)


class ReadOn:
    """In place of a watch for the client's hang-up: nothing is cancelled, upstream is read to its end."""

    async def __aenter__(self) -> None:
        return None

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        return None


def _checked(key: bytes | None) -> str:
    if key is None or not _PRINTABLE.fullmatch(key):
        raise InvalidRequest(
            f"An Idempotency-Key has 1 to {KEY_CHARACTERS_MAX} printable ASCII characters.", param="Idempotency-Key"
        )
    return key.decode("ascii")


def _opened(seal: Seal, found: Found) -> KeptAnswer | None:
    """The kept answer; None where there is none, or none that this caller can open."""
    if found.what != "answer":
        return None
    try:
        return from_wire_answer(seal.open(found.call_id, found.sealed))
    except (BrokenSeal, msgspec.MsgspecError):
        return None


async def _answer_again(door: Door, answer: KeptAnswer) -> None:
    error = failure_of(answer)
    if error is not None:
        await door.refuse(error, {**answer.headers, **_REPLAYED})
        return
    await door.start(answer.status, {**answer.headers, **_REPLAYED})
    await door.end(answer.body)
