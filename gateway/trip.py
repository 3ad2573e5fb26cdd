"""One call on its way: the door that it came in by, and what is known of it so far.

A `Door` is how an answer leaves the house. Which server stands behind it (the ASGI route, the protocol class) is no concern of the
journey; a `Trip` collects headers and facts for the answer and for the one line in the log.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol
from uuid import UUID

from billing.ids import instant_of, new_call_id
from billing.usage import NOTHING
from gateway.call import Call, Caller, Outcome
from gateway.clock import to_ns
from gateway.errors import GatewayError, NotBooked
from gateway.keys.address import Address
from gateway.keys.standing import Standing
from gateway.meter.endpoint import Endpoint
from gateway.meter.request import Ask, bounds_of
from gateway.traces import CallTrace

_LAST_OF_MS = timedelta(microseconds=999)


class ClientGone(Exception):
    """The client hung up."""


class Door(Protocol):
    """How an answer leaves the house; which server stands behind it is no concern of the journey.

    A piece of a body is put there at once, or written; where `put` says False, `drained` is awaited before the next. A chunk of HTTP/1.1
    may be put as it stands on the wire; where `put_chunk` says False, nothing of it was.
    """

    endpoint: Endpoint
    secret: str
    content_type: str
    idempotency_key: bytes | None
    secret_hash: str | None
    """Of the secret, where it was worked out before."""
    whole_body: bytes | None
    """Where it has come already; else `read_body` waits for it."""
    task: asyncio.Task[None] | None
    """Which carries the call, where that is known."""

    @property
    def started(self) -> bool: ...
    def address(self) -> Address | None: ...
    def header(self, name: bytes) -> bytes | None: ...
    async def read_body(self) -> bytes: ...
    async def start(self, status: int, headers: dict[str, str]) -> None: ...
    def put(self, data: bytes) -> bool: ...
    def put_chunk(self, chunk: bytes) -> bool: ...
    async def drained(self) -> None: ...
    async def write(self, data: bytes) -> None: ...
    async def end(self, last: bytes = b"") -> None: ...
    async def answer(self, status: int, headers: dict[str, str], body: bytes) -> None: ...
    async def refuse(self, error: GatewayError, headers: dict[str, str]) -> None: ...
    def error_event(self, error: GatewayError) -> bytes: ...
    def hang_up_cancels(self) -> HangUp: ...


class Kept(Protocol):
    """What a call with an Idempotency-Key is told besides (`repeat.py`)."""

    async def upstream_began(self) -> None: ...
    def withhold(self, late: NotBooked, last: bytes, headers: dict[str, str] | None = None) -> None: ...
    async def close(self) -> None: ...


class Seat(Protocol):
    """The upstream key that answers this call, as the fleet keeps it."""

    @property
    def key_name(self) -> str: ...
    def used(self, tokens: int) -> None: ...


class HangUp(Protocol):
    """Inside this context the client's hang-up cancels what is awaited and comes out as `ClientGone`."""

    async def __aenter__(self) -> None: ...
    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: object
    ) -> bool | None: ...


@dataclass(frozen=True, slots=True)
class Expected:
    """How much output counts against tokens a minute before it is known, and how much of an unbounded stream is held at a time."""

    output_tokens: int
    stream_slice_tokens: int


class Trip:
    """What is known of one call while it is under way, for its answer's headers and its line in the log.

    Made once a call, and most of it stays as it is: that stands in the class.
    """

    continues: UUID | None = None
    attempts_before = 0
    caller: Caller | None = None
    kept: Kept | None = None
    trace: CallTrace | None = None
    call: Call | None = None
    settled: Outcome | None = None
    seat: Seat | None = None
    outcome = "failed"
    code: str | None = None
    # When its request was read whole, handed to upstream, and answered to the end: on the monotonic clock, 0 = not yet.
    read_s = sent_s = answered_s = 0.0
    first_event_s: float | None = None

    def __init__(self, door: Door, accepted_ns: int) -> None:
        self.door = door
        self.accepted_ns = accepted_ns
        self.uuid = new_call_id(accepted_ns // 1_000_000)
        self.headers = {"x-request-id": str(self.uuid)}

    @property
    def call_id(self) -> str:
        return self.headers["x-request-id"]

    def continue_call(self, call_id: UUID, attempts_before: int) -> None:
        """It is another attempt of a call whose worker died: that call's id, and the instant when that was accepted, are its own."""
        if call_id == self.uuid:
            return
        self.continues, self.attempts_before = call_id, attempts_before
        self.accepted_ns = to_ns(instant_of(call_id) + _LAST_OF_MS)  # an id knows its millisecond
        self.headers["x-request-id"] = str(call_id)

    @property
    def caller_known(self) -> Caller:
        if self.caller is None:
            raise RuntimeError("a call is admitted only after its caller is known")
        return self.caller

    def parts_s(self, begun_s: float, ended_s: float) -> tuple[float, float, float | None]:
        """Of a call that upstream answered: (upstream's seconds, ours, those to a stream's first event)."""
        added_s = self.sent_s - self.read_s + ended_s - self.answered_s
        first_s = None if self.first_event_s is None else self.first_event_s - begun_s
        return self.answered_s - self.sent_s, added_s, first_s

    def new_call(self, standing: Standing, ask: Ask, body_bytes: int, expected: Expected) -> Call:
        """The call as admission and the ledger know it."""
        endpoint, price = self.door.endpoint, standing.price
        bounds = bounds_of(endpoint, ask, body_bytes, price.model)
        output_max = bounds.output_tokens_max
        sliced = ask.streamed and not ask.output_tokens_max
        return Call(
            id=self.uuid,
            caller=standing.caller,
            accepted_ns=self.accepted_ns,
            month=standing.month,
            endpoint=endpoint.name,
            model_asked=ask.model,
            streamed=ask.streamed,
            price=price,
            prompt_tokens_max=bounds.prompt_tokens_max,
            prompt_tokens_best=bounds.prompt_tokens_best,
            output_tokens_max=output_max,
            output_tokens_expected=min(output_max, expected.output_tokens),
            pages_max=bounds.pages_max,
            pages_best=ask.pages_best,
            output_tokens_first=min(output_max, ask.answers * expected.stream_slice_tokens) if sliced else None,
            output_tokens_min=1 if sliced or bounds.can_be_set else 0,
            continues=self.continues,
            attempts_before=self.attempts_before,
            place=standing.place,
        )

    def facts(self, seconds: float) -> dict[str, object]:
        """For the log: ids and counts, never a prompt, a completion or a secret."""
        caller, call, settled = self.caller, self.call, self.settled
        usage = NOTHING if settled is None else settled.usage
        return {
            "event": "call",
            "level": "info",
            "at_ns": self.accepted_ns,
            "call_id": self.call_id,
            "endpoint": self.door.endpoint.name,
            "outcome": self.outcome,
            "code": self.code,
            "seconds": round(seconds, 6),
            "account_id": None if caller is None else caller.account_id,
            "key_id": None if caller is None else caller.key_id,
            "model": None if call is None else call.price.model,
            "input_tokens": usage.input_tokens,
            "cached_input_tokens": usage.cached_input_tokens,
            "output_tokens": usage.output_tokens,
            "estimated": None if settled is None else settled.estimated_reason,
        }
