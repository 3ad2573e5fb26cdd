"""Where calls wait for a seat: one fair queue for each model, all of them bounded, and the timer that wakes them.

A call waits until a key has room, or until it has waited `wait_max_s`; one that would wait for longer, or finds no place, is told so
at once, with the time after which it is worth while to come again. Weights are the accounts'.
Units: seconds on a steady clock, calls.
Errors: `RateLimited` (the truth about upstream's quota), `UpstreamUnavailable` (no key is left, or all that are left are out).
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from gateway.errors import GatewayError, RateLimited, UpstreamUnavailable
from gateway.fleet.errand import Errand
from gateway.fleet.member import Seat
from gateway.queue.fair import Entry, FairQueue

_RETRY_MIN_S, _RETRY_MAX_S = 1.0, 600.0
_COST_MAX = 100.0
_WHAT = "the gateway's quota with the model"


@dataclass(frozen=True, slots=True)
class QueueRules:
    """The bounds of waiting, for each model."""

    wait_max_s: float = 5.0
    waiting_max: int = 1024
    account_max: int = 64
    weights: Mapping[str, int] = field(default_factory=dict)


class Chooser(Protocol):
    """The fleet, as those who wait see it."""

    def now(self) -> float: ...
    def choose(self, errand: Errand) -> Seat | None: ...
    def probe_quota(self, errand: Errand) -> Seat | None: ...
    def probes_at(self, errand: Errand) -> float: ...
    def opens_at(self, errand: Errand) -> float: ...
    def has_well(self, errand: Errand) -> bool: ...
    def per_second(self, model: str) -> float: ...
    def calls_per_token(self, model: str) -> float: ...


@dataclass(slots=True)
class _Turn:
    """One call that waits."""

    errand: Errand
    seat: asyncio.Future[Seat | None]


class Turns:
    """All who wait, in one process."""

    def __init__(self, rules: QueueRules, chooser: Chooser) -> None:
        self._rules = rules
        self._chooser = chooser
        self.queues: dict[str, FairQueue[_Turn]] = {}
        """By model; empty while nobody waits, which is nearly always."""
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at_s = 0.0
        self.waiting_count = 0
        self.waited_total = 0
        self.refused_total = 0

    def has(self, model: str) -> bool:
        """Does anyone wait for this model?"""
        return model in self.queues

    async def wait(self, errand: Errand) -> Seat:
        """A seat, after its turn has come."""
        rules, now_s = self._rules, self._chooser.now()
        if not errand.queue_until_s:
            errand.queue_until_s = now_s + rules.wait_max_s
        opens_at_s = self._chooser.opens_at(errand)
        if opens_at_s == float("inf"):
            raise _unreachable()
        if opens_at_s > errand.queue_until_s:
            probe = self._chooser.probe_quota(errand)
            if probe is not None:
                return probe
            if self._chooser.probes_at(errand) > errand.queue_until_s:
                raise self._refusal(errand, opens_at_s - now_s)
        return await self._queue_up(errand, errand.queue_until_s - now_s)

    async def _queue_up(self, errand: Errand, patience_s: float) -> Seat:
        queue = self.queues.get(errand.model)
        if queue is None:
            queue = FairQueue(
                self._rules.weights, entries_max=self._rules.waiting_max, account_max=self._rules.account_max
            )
            self.queues[errand.model] = queue
        turn = _Turn(errand, asyncio.get_running_loop().create_future())
        entry = self._put(queue, turn)
        if entry is None:
            raise self._refusal(errand, self._chooser.opens_at(errand) - self._chooser.now())
        errand.queued = False
        self.waited_total += 1
        self.pump(errand.model)
        try:
            async with asyncio.timeout(patience_s):
                seat = await turn.seat
        except TimeoutError:
            seat = None if not turn.seat.done() or turn.seat.cancelled() else turn.seat.result()
        except asyncio.CancelledError:
            _give_back(turn)
            raise
        finally:
            self._leave(errand.model, queue, entry)
        if seat is None:
            raise self._refusal(errand, self._chooser.opens_at(errand) - self._chooser.now())
        return seat

    def _put(self, queue: FairQueue[_Turn], turn: _Turn) -> Entry[_Turn] | None:
        """A place in a queue, if there is one."""
        errand = turn.errand
        entry, dropped = queue.put(turn, errand.account_id, self._cost(errand), again=errand.queued)
        if dropped is not None and not dropped.item.seat.done():
            dropped.item.seat.set_result(None)
        self._count()
        return entry

    def _cost(self, errand: Errand) -> float:
        """A call is one; one that takes more than a call's share of a minute's tokens counts for as much more."""
        return min(_COST_MAX, max(1.0, errand.tokens * self._chooser.calls_per_token(errand.model)))

    def _leave(self, model: str, queue: FairQueue[_Turn], entry: Entry[_Turn]) -> None:
        queue.remove(entry)
        # Others may have left it first, and newcomers wait in a queue of their own by now.
        if not len(queue) and self.queues.get(model) is queue:
            del self.queues[model]
        self._count()

    def _count(self) -> None:
        self.waiting_count = sum(map(len, self.queues.values()))

    def _refusal(self, errand: Errand, opens_in_s: float) -> GatewayError:
        """The truth: when there is room again, or, behind a queue, when this account's next call would have its turn.

        Where no key is well it is not the quota that kept the call waiting.
        """
        if not self._chooser.has_well(errand):
            return _unreachable()
        self.refused_total += 1
        rate, queue = self._chooser.per_second(errand.model), self.queues.get(errand.model)
        turn_in_s = queue.ahead_of(errand.account_id) / rate if queue is not None and rate else 0.0
        wait_s = min(max(opens_in_s, turn_in_s, _RETRY_MIN_S), _RETRY_MAX_S)
        return RateLimited(_WHAT, int(wait_s * 1000), {})

    def refuse_all(self) -> None:
        """No key is well, as a call has just found out: nobody need wait to find out the same."""
        for queue in self.queues.values():
            for entry in tuple(queue.in_order()):
                if not entry.item.seat.done():
                    entry.item.seat.set_exception(_unreachable())

    # ---- waking -------------------------------------------------------------------------------------------------------------

    def pump(self, model: str) -> None:
        """Give seats to those whose turn it is, while there are any; then look again when there may be one."""
        queue = self.queues.get(model)
        if queue is None:
            return
        look_at_s = float("inf")
        for entry in queue.in_order():
            turn = entry.item
            if turn.seat.done():
                continue
            opens_at_s = self._chooser.opens_at(turn.errand)
            seat = self._chooser.choose(turn.errand)
            if seat is None and opens_at_s > turn.errand.queue_until_s:
                opens_at_s = self._chooser.probes_at(turn.errand)
                seat = self._chooser.probe_quota(turn.errand)
            if seat is not None:
                queue.remove(entry, served=True)
                turn.errand.queued = True
                turn.seat.set_result(seat)
                continue
            look_at_s = min(look_at_s, opens_at_s)
            if not (turn.errand.waits or turn.errand.tried):
                break  # who comes after it cannot have one either
        if look_at_s != float("inf"):
            self._look_at(look_at_s)

    def pump_soon(self) -> None:
        """In the loop's next round: those who make room are busy with a call."""
        self._look_at(self._chooser.now())

    def _look_at(self, at_s: float) -> None:
        if self._timer is not None:
            if at_s >= self._timer_at_s:
                return
            self._timer.cancel()
        self._timer_at_s = at_s
        self._timer = asyncio.get_running_loop().call_later(max(0.0, at_s - self._chooser.now()), self._look)

    def _look(self) -> None:
        self._timer = None
        for model in tuple(self.queues):
            self.pump(model)

    def close(self) -> None:
        """Stop waking anyone."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def _unreachable() -> UpstreamUnavailable:
    return UpstreamUnavailable("The model cannot be reached.", status=503)


def _give_back(turn: _Turn) -> None:
    """Its caller is gone, perhaps in the moment in which its seat came."""
    if turn.seat.done() and not turn.seat.cancelled() and turn.seat.exception() is None:
        seat = turn.seat.result()
        if seat is not None:
            seat.given_up()
