"""What is tried again, and what is not. Within the caller's one deadline, before the first byte of an answer, and only what is safe.

| what became of an attempt | with another key | with the same key |
|---|---|---|
| nothing was sent (no connection) | at once | after a pause with full jitter |
| 429 `too_many_requests`: not carried out | at once | when upstream says, in its turn (`fleet/turns.py`) |
| 401, 403, `usage_limit_exceeded`: not carried out | at once | never |
| 5xx: an answer, and none that anyone is billed for, but by a proxy in front (502, 504) | at once | never: the caller may |
| the connection broke after the request was written | once in a call, if `resend_lost` | never |
| no first byte in time | never: the time is used up, and it may be at work still | never |

An attempt that upstream may have carried out is lost: it stands in the errand, and what it may cost us is booked as pending. The caller
never pays for it. A call ends after `attempts_max` attempts, and one more for each further key; those that a 429 ended are counted apart.
Errors: `NotServed` between attempts; to the outside `UpstreamUnavailable`, `RateLimited`.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import httpx
import structlog
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type, stop_after_attempt, wait_random_exponential

from gateway.errors import GatewayError, UpstreamInterrupted, UpstreamUnavailable
from gateway.fleet.errand import Errand
from gateway.fleet.fleet import Fleet
from gateway.fleet.member import Seat
from gateway.metrics import UPSTREAM_ALERTS
from gateway.upstream.faults import Verdict, code_of, fault_of, may_be_billed, retry_after_ms, verdict_of
from gateway.upstream.line import Parcel
from gateway.upstream.reply import UpstreamAnswer

log = structlog.get_logger("upstream")
_ERROR_BODY_MAX_BYTES = 64 * 1024
_MARGIN_S = 0.02
"""Beyond the instant that upstream names: a millisecond early is a refusal, and a second lost."""
_QUOTA_REFUSALS = 2
"""A 429 costs nobody anything: of these, twice as many are taken, within the time that a call may wait."""
_NEVER_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.UnsupportedProtocol, httpx.LocalProtocolError)
_LATE = (TimeoutError, httpx.ReadTimeout)

Attempt = Callable[[Seat, Parcel, Errand], Awaitable[UpstreamAnswer]]


@dataclass(frozen=True, slots=True)
class RetryRules:
    """Bounds of what is tried again."""

    attempts_max: int = 3
    resend_lost: bool = True


class NotServed(Exception):
    """An attempt brought nothing; another may follow."""

    def __init__(self, fault: GatewayError, *, pauses: bool = False, is_lost: bool = False) -> None:
        super().__init__(fault.message)
        self.fault = fault
        self.pauses = pauses
        self.is_lost = is_lost


def failure_of(error: httpx.TransportError | OSError, seat: Seat, errand: Errand) -> NotServed | UpstreamUnavailable:
    """What it means that an attempt brought no answer."""
    member = seat.member
    if isinstance(error, httpx.LocalProtocolError):
        seat.given_up()
        return UpstreamUnavailable("The request cannot be sent to the model as it is.", status=502)
    if isinstance(error, httpx.PoolTimeout):  # we are too busy, not the key
        seat.given_up()
        return NotServed(UpstreamUnavailable("The model cannot be reached.", status=503), pauses=True)
    if isinstance(error, _NEVER_SENT):
        seat.unreachable()
        errand.unreached = (*errand.unreached, member.place)
        return NotServed(UpstreamUnavailable("The model cannot be reached.", status=503), pauses=True)
    errand.tried = (*errand.tried, member.place)
    if isinstance(error, _LATE):
        errand.lose(member.key.name, "no first byte in time")
        seat.failed("lost", "no first byte in time")
        return UpstreamUnavailable("The model did not answer in time.", status=504)
    errand.lose(member.key.name, "connection broke")
    seat.failed("lost", "connections break")
    return NotServed(UpstreamUnavailable("The connection to the model broke.", status=502), is_lost=True)


async def refusal_of(answer: UpstreamAnswer, seat: Seat, errand: Errand) -> NotServed:
    """What an answer means that is none: our key is refused, is out of quota, or what stands behind it fails. The answer is closed."""
    member, status, headers = seat.member, answer.status, answer.all_headers()
    try:
        body, _ = await answer.read(_ERROR_BODY_MAX_BYTES)
    except UpstreamInterrupted:
        body = b""
    except BaseException:
        seat.given_up()
        raise
    finally:
        await answer.close()
    verdict, now_s = verdict_of(status, body), time.time()
    fault = fault_of(status, body, headers, now_s)
    if fault is None:
        raise RuntimeError(f"a status {status} that looks ill is a fault")
    if verdict is Verdict.QUOTA:
        wait_s = retry_after_ms(headers, now_s) / 1000 + _MARGIN_S
        errand.must_wait(member.place, seat.home.now() + wait_s)
        seat.out_of_quota(headers, wait_s)
        return NotServed(fault)
    errand.tried = (*errand.tried, member.place)
    if verdict is Verdict.REFUSED:
        UPSTREAM_ALERTS.inc()
        code = code_of(body) or ""
        log.error("upstream_refuses_us", status=status, code=code, key=member.key.name)
        seat.refused(f"{status} {code}".strip())
        return NotServed(fault)
    if may_be_billed(status):
        errand.lose(member.key.name, f"answered {status}")
    seat.failed("broken", f"answers {status}")
    return NotServed(fault)


class Again:
    """The second attempt of a call, and those after it."""

    def __init__(self, attempt: Attempt, fleet: Fleet, rules: RetryRules) -> None:
        self._attempt = attempt
        self._fleet = fleet
        self._rules = rules
        self._attempts_max = rules.attempts_max + len(fleet.members) - 1
        self._jitter = wait_random_exponential(multiplier=0.05, max=1)
        self._retrying = AsyncRetrying(retry=retry_if_exception_type(NotServed), wait=self._pause_s, reraise=True)

    async def send(self, parcel: Parcel, errand: Errand, failure: NotServed | None) -> UpstreamAnswer:
        """Try on, after a first attempt that failed, or for a call that must wait for its turn."""
        try:
            if failure is not None:
                self._look_at(failure, errand)
            return await self._try_on(parcel, errand)
        except UpstreamUnavailable:
            if errand.attempts and not self._fleet.any_well:  # who only waited has found out nothing
                self._fleet.turns.refuse_all()
            raise

    async def _try_on(self, parcel: Parcel, errand: Errand) -> UpstreamAnswer:
        left = stop_after_attempt((_QUOTA_REFUSALS + 1) * self._attempts_max)  # the last word is `_look_at`'s
        # Tenacity keeps the state of a retry in the object: each call needs one of its own.
        async for attempt in self._retrying.copy(stop=left):
            with attempt:
                try:
                    return await self._attempt(await self._seat(errand), parcel, errand)
                except NotServed as not_served:
                    self._look_at(not_served, errand)
                    raise
        raise RuntimeError("a call ends with an answer or with an error")

    async def _seat(self, errand: Errand) -> Seat:
        in_turn = errand.attempts == 0 or bool(errand.waits)
        seat = None if in_turn and self._fleet.turns.has(errand.model) else self._fleet.choose(errand)
        return seat or await self._fleet.turns.wait(errand)

    def _look_at(self, failure: NotServed, errand: Errand) -> None:
        """Raises what the caller is told, where nothing more is tried."""
        resend = self._rules.resend_lost and len(errand.lost) <= 1
        refusals = errand.quota_refusals
        spent = errand.attempts - refusals >= self._attempts_max or refusals >= _QUOTA_REFUSALS * self._attempts_max
        spent = spent or self._fleet.none_left(errand)
        if spent or (failure.is_lost and not resend):
            raise failure.fault
        failure.pauses = failure.pauses and not self._fleet.has_fresh(errand)

    def _pause_s(self, state: RetryCallState) -> float:
        """Full jitter before the same key is tried again; none before another."""
        error = state.outcome.exception() if state.outcome is not None else None
        return self._jitter(state) if isinstance(error, NotServed) and error.pauses else 0.0
