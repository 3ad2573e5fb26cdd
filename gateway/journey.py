"""Carries one call through the rooms, left to right. The only place where order and failure paths are decided.

    identify → read → (repeated? its answer again) → price → admit ─→ send ─→ whole answer ─→ settle → head, body
                        │        │       └───→ stream ───────→ events … → settle → usage event, end
                        refuse   refuse  └ no answer: give back, refuse

Order (design.md section 6): the hold before upstream hears of the call; the settlement (hold released, counters corrected, usage record
appended: one atomic step) before the usage event and before the last byte reach the client. Errors: every `GatewayError`, as an
answer of the endpoint's shape, or as an event once a stream has begun.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass

from billing.money import nano_usd_up, to_wire_decimal
from billing.prices import cost_at
from billing.usage import NOTHING
from gateway.admission.admit import Admission, StaleCaller, StalePrices
from gateway.admission.keep import Keeper, Lease
from gateway.alerts.refusals import Refusals
from gateway.call import Caller, Hold, Outcome, Settlement
from gateway.clock import Clock, Deadlines
from gateway.errors import (
    GatewayError,
    KeyNotAllowed,
    ModelNotFound,
    NotBooked,
    NotCovered,
    ServiceUnavailable,
    UpstreamInterrupted,
)
from gateway.fleet.errand import Errand
from gateway.fleet.losses import Losses
from gateway.keys.identify import Identify
from gateway.keys.prices import PriceTable
from gateway.keys.standing import Standing, Standings
from gateway.logs import CallLog
from gateway.meter.relay import Relay
from gateway.meter.request import Ask, read_request, with_output_bound
from gateway.meter.sizes import SUCCESSORS
from gateway.meter.tally import StreamTally, outcome_of_whole
from gateway.metrics import UNKNOWN_SNAPSHOTS, CallCounts, count_absorbed
from gateway.repeat import ReadOn, Repeats
from gateway.traces import Traces
from gateway.trip import ClientGone, Door, Expected, Trip
from gateway.upstream.faults import code_of, fault_of
from gateway.upstream.reply import UpstreamAnswer
from gateway.upstream.solar import Solar
from gateway.upstream.stream import EventSplitter, EventTooLarge

_ADMIT_ATTEMPTS = 3
_BROKE_OFF = "upstream broke off"
_ERROR_BODY_MAX_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class Bounds:
    """How much of an answer is held in memory, and how much output a call is expected to make."""

    answer_buffer_bytes: int
    sse_event_max_bytes: int
    expected: Expected
    total_timeout_s: float
    hang_up_cancels: bool


class Journey:
    """One process's way for calls; holds no state of any one of them."""

    def __init__(
        self,
        clock: Clock,
        identify: Identify,
        prices: PriceTable,
        admission: Admission,
        keeper: Keeper,
        solar: Solar,
        bounds: Bounds,
        call_log: CallLog,
        counts: CallCounts,
        repeats: Repeats,
        refusals: Refusals,
        losses: Losses,
        traces: Traces | None = None,
    ) -> None:
        self._clock = clock
        self._identify = identify
        self._prices = prices
        self._standings = Standings(prices)
        self._admission = admission
        self._keeper = keeper
        self._solar = solar
        self._bounds = bounds
        self._deadlines = Deadlines(bounds.total_timeout_s)
        self._call_log = call_log
        self._counts = counts
        self._repeats = repeats
        self._refusals = refusals
        self._losses = losses
        self._traces = traces

    async def carry(self, door: Door) -> None:
        """Answer one call, whatever happens."""
        begun, accepted_ns = time.monotonic(), self._clock.now_ns()
        trip = Trip(door, accepted_ns)
        self._counts.began()
        if self._traces is not None:
            context = door.header(b"traceparent"), door.header(b"tracestate")
            trip.trace = self._traces.begin(*context, door.endpoint.upstream_path, accepted_ns, begun)
        task = self._deadlines.begin(door.task)
        try:
            trip.outcome = await self._carry(trip)
        except GatewayError as error:
            trip.outcome, trip.code = ("interrupted" if door.started else "refused"), error.code
            if isinstance(error, NotCovered):
                self._refusals.saw(trip.caller_known, error)
            await self._tell(trip, error)
        except asyncio.CancelledError:
            if not self._deadlines.end(task):
                raise
            trip.code = "upstream_interrupted"
            await self._tell(trip, UpstreamInterrupted())
        except ClientGone:
            trip.outcome = "client_gone"
        finally:
            self._deadlines.end(task)
            if trip.kept is not None:
                await asyncio.shield(trip.kept.close())
            ended = time.monotonic()
            seconds = ended - begun
            self._counts.ended(trip.outcome, seconds, trip.code)
            if trip.answered_s:
                self._counts.served(*trip.parts_s(begun, ended))
            facts = trip.facts(seconds)
            self._call_log.add(facts)
            if trip.trace is not None:
                trip.trace.end(facts, trip.answered_s, ended)

    async def _tell(self, trip: Trip, error: GatewayError) -> None:
        if trip.door.started:
            await trip.door.end(trip.door.error_event(error))
        else:
            await trip.door.refuse(error, {**trip.headers, **error.headers})

    async def _carry(self, trip: Trip) -> str:
        door = trip.door
        caller = self._identify.known(door.secret_hash, time.monotonic())
        caller = trip.caller = caller or await self._identify.caller_of(door.secret, door.address)
        if caller.endpoints is not None and door.endpoint.name not in caller.endpoints:
            raise KeyNotAllowed(f"This key is not allowed to call {door.endpoint.name}.")
        body = await door.read_body() if door.whole_body is None else door.whole_body
        trip.read_s = time.monotonic()
        ask = read_request(door.endpoint, body, door.content_type)
        if door.idempotency_key is not None and await self._repeats.answered(trip, body):
            return "replayed"
        hold = await self._admit(trip, ask, len(body))
        if not ask.streamed and hold.output_tokens < hold.call.output_tokens_max:
            # The budget covers no more; what it covers is held.
            ask = with_output_bound(door.endpoint, ask, hold.output_tokens)
        if ask.changed:
            trip.headers["x-solar-changed"] = ", ".join(ask.changed)
        trip.headers.update(hold.limit_headers)
        lease, call = self._keeper.begin(hold), hold.call
        trip.sent_s = time.monotonic()
        tokens = call.prompt_tokens_best + call.output_tokens_expected
        errand = Errand(call.caller.account_id, call.price.model, tokens)
        if trip.trace is not None:
            errand.trace = trip.trace.calls(door.endpoint.upstream_path, call.price.model, trip.sent_s)
        try:
            return await self._served(trip, lease, ask, errand)
        finally:
            lease.end()
            if errand.lost:
                self._losses.book(call, errand.lost)

    async def _served(self, trip: Trip, lease: Lease, ask: Ask, errand: Errand) -> str:
        door, hold = trip.door, lease.hold
        try:
            answer = await self._solar.send(
                door.endpoint.upstream_path, ask.body, door.content_type, errand, lease.sent
            )
        except BaseException:
            await asyncio.shield(self._admission.give_back(hold))
            raise
        trip.seat = answer.seat
        if answer.attempts > 1:
            trip.headers["x-solar-attempts"] = str(answer.attempts)
        try:
            if not 200 <= answer.status < 300:
                return await self._refused_upstream(trip, hold, ask, answer)
            if trip.kept is not None:
                await trip.kept.upstream_began()
            if answer.is_event_stream:
                return await self._stream(trip, lease, ask, answer)
            return await self._whole(trip, hold, answer)
        except BaseException:
            if trip.settled is None and 200 <= answer.status < 300:  # nobody is billed for a refusal
                errand.lose(answer.seat.key_name, "answer broke off")
            raise
        finally:
            if answer.whole is None:
                await answer.close()

    # ---- before upstream hears of it ----------------------------------------------------------------------------------------

    async def _admit(self, trip: Trip, ask: Ask, body_bytes: int) -> Hold:
        caller, endpoint = trip.caller_known, trip.door.endpoint.name
        for _ in range(_ADMIT_ATTEMPTS):
            standing = self._standings.known(caller, endpoint, ask.model, trip.accepted_ns)
            standing = standing or await self._standing(caller, endpoint, ask.model, trip.accepted_ns)
            trip.call = trip.new_call(standing, ask, body_bytes, self._bounds.expected)
            try:
                return await self._admission.admit(trip.call, standing.prices_version)
            except StaleCaller:
                caller = trip.caller = await self._identify.caller_of(trip.door.secret, trip.door.address, fresh=True)
            except StalePrices:
                await self._prices.refresh(newer_than=standing.prices_version)
        raise ServiceUnavailable

    async def _standing(self, caller: Caller, endpoint: str, model: str, accepted_ns: int) -> Standing:
        try:
            return await self._standings.find(caller, endpoint, model, accepted_ns)
        except ModelNotFound:
            raise ModelNotFound(model, successor=SUCCESSORS.get(model)) from None

    # ---- after upstream answered --------------------------------------------------------------------------------------------

    async def _refused_upstream(self, trip: Trip, hold: Hold, ask: Ask, answer: UpstreamAnswer) -> str:
        await self._admission.give_back(hold)
        body, _ = await answer.read(_ERROR_BODY_MAX_BYTES)
        fault = fault_of(answer.status, body, answer.all_headers())
        if fault is not None:
            raise fault
        if answer.status == 400 and ask.model in SUCCESSORS and code_of(body) == "invalid_request_body":
            raise ModelNotFound(ask.model, successor=SUCCESSORS[ask.model])
        trip.code = str(answer.status)
        await trip.door.answer(answer.status, {**answer.passed_headers, **trip.headers}, body)
        return "upstream_refused"

    async def _whole(self, trip: Trip, hold: Hold, answer: UpstreamAnswer) -> str:
        """Read the answer to its end even if the client is gone; settle; then hand it over, byte for byte."""
        body = answer.whole
        if body is None:
            try:
                body, more = await answer.read(self._bounds.answer_buffer_bytes)
            except BaseException:
                await asyncio.shield(self._admission.give_back(hold))
                raise
            if more is not None:
                return await self._long(trip, hold, answer, body, more)
        trip.answered_s = time.monotonic()
        outcome = outcome_of_whole(hold.call, trip.door.endpoint.wire, body, answer.attempts)
        try:
            settlement = await self._admission.settle(hold, outcome, answer.seat.key_name)
        except NotBooked as late:
            if trip.kept is not None:
                trip.kept.withhold(late, body, {**answer.passed_headers, **trip.headers})
            raise
        self._settled(trip, hold, outcome, settlement)
        if settlement.cost_is_known:
            trip.headers |= {"x-solar-cost": to_wire_decimal(settlement.cost_usd), "x-solar-currency": "USD"}
        await trip.door.answer(200, {**answer.passed_headers, **trip.headers}, body)
        return "whole"

    async def _long(self, trip: Trip, hold: Hold, answer: UpstreamAnswer, held: bytes, more: bytes) -> str:
        """An answer too large to hold passes through, all but its last piece, which waits for the settlement."""
        await trip.door.start(200, {**answer.passed_headers, **trip.headers})
        tally = StreamTally(hold.call, trip.door.endpoint.wire, usage_wanted=False)
        await trip.door.write(held)
        tally.saw_tail(held)
        last, outcome = more, None
        try:
            async for chunk in answer.chunks():
                await trip.door.write(last)
                tally.saw_tail(last)
                last = chunk
            tally.saw_tail(last)
            outcome = tally.outcome_of_tail(answer.attempts)
        finally:
            trip.answered_s = time.monotonic()
            await self._settle(trip, hold, outcome or tally.outcome(_BROKE_OFF, answer.attempts))
        await trip.door.end(last)
        return "whole"

    async def _stream(self, trip: Trip, lease: Lease, ask: Ask, answer: UpstreamAnswer) -> str:
        """Pass events on as they come. The last usage event and what follows it wait for the settlement."""
        hold = lease.hold
        tally = StreamTally(hold.call, trip.door.endpoint.wire, usage_wanted=ask.usage_wanted)
        splitter = EventSplitter(self._bounds.sse_event_max_bytes)
        relay = Relay(trip.door, splitter, tally, lease, time.monotonic)
        why = "deadline or worker stopped"
        try:
            async with trip.door.hang_up_cancels() if self._bounds.hang_up_cancels else ReadOn():
                await trip.door.start(200, {**answer.passed_headers, **trip.headers, "cache-control": "no-store"})
                while await answer.flow_into(relay.take, relay.pass_chunk):
                    await relay.look()
                    if tally.ended:
                        break
                tally.pass_on_rest(splitter.rest())
            why = _BROKE_OFF
        except ClientGone:
            why = "client hung up"
            raise
        except NotCovered:
            why = "budget used up in mid-stream"
            raise
        except (UpstreamInterrupted, EventTooLarge):
            why = _BROKE_OFF
        finally:
            trip.answered_s, trip.first_event_s = time.monotonic(), relay.first_event_s
            settlement = await asyncio.shield(
                self._end_of_stream(trip, hold, tally, tally.outcome(why, answer.attempts))
            )
        last_words = tally.last_words(settlement.cost_usd if settlement.cost_is_known else None)
        if tally.broke_off:
            await trip.door.write(last_words)
            raise UpstreamInterrupted
        await trip.door.end(last_words)
        await answer.finish()
        return "streamed"

    async def _end_of_stream(self, trip: Trip, hold: Hold, tally: StreamTally, outcome: Outcome) -> Settlement:
        """Settle a stream; one that upstream broke off before it said anything costs nothing."""
        if tally.said_nothing and outcome.estimated_reason == _BROKE_OFF:
            await self._admission.give_back(hold)
            return Settlement()
        try:
            return await self._settle(trip, hold, outcome)
        except NotBooked as late:
            if trip.kept is not None and not tally.broke_off:
                trip.kept.withhold(late, tally.last_words(None))
            raise

    async def _settle(self, trip: Trip, hold: Hold, outcome: Outcome) -> Settlement:
        settlement = await self._admission.settle(hold, outcome, None if trip.seat is None else trip.seat.key_name)
        self._settled(trip, hold, outcome, settlement)
        return settlement

    def _settled(self, trip: Trip, hold: Hold, outcome: Outcome, settlement: Settlement) -> None:
        """Count it."""
        absorbed, usage = settlement.absorbed, outcome.usage
        self._counts.settled(
            usage.input_tokens,
            usage.cached_input_tokens,
            usage.output_tokens,
            settlement.charged_nano_usd,
            estimated=outcome.estimated_reason,
        )
        if absorbed is not NOTHING:
            count_absorbed(nano_usd_up(cost_at(hold.call.price, absorbed)))
        trip.settled = outcome
        if trip.seat is not None:
            trip.seat.used(usage.input_tokens + usage.cached_input_tokens + usage.output_tokens)
        if outcome.model_answered is not None and not self._prices.knows(outcome.model_answered):
            UNKNOWN_SNAPSHOTS.inc()
