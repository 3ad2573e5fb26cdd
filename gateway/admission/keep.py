"""Keeps holds alive while their calls live, tells what has come of their answers, and extends those of unbounded streams ahead of use.

A hold is let for `lease_s`; who does not renew it in time is taken for dead, and the sweep books what it knows (design.md section 6).
No call waits for that: one timer looks at all leases, and tells what is due:
 - that its request is not sent yet, where it waits for a connection longer than `sent_mark_s`, and that it is, once it is. A hold is
   taken for one whose request is sent: most are sent in the tick of their admission. A worker that dies within this span before it
   sends leaves an estimate of a prompt that nobody read; the other way round, what upstream served just then would be lost;
 - what output has come, at the latest `progress_s` or `progress_tokens_max` tokens after the last word of it;
 - that it lives, three times a lease.
A stream without a bound is extended when half a slice is left, so that it waits only where its slice is really used up. While Redis is away
it goes on within the worker's share of the account's exposure (`Standby.grow`).
Units: seconds on the loop's clock, tokens. Errors: `NotCovered` where a cap leaves no room, `UpstreamInterrupted` where nobody can say.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

from gateway.admission.admit import not_covered
from gateway.admission.batch import Ticker, shard_of
from gateway.admission.records import to_wire_admission
from gateway.call import NO_CAP, Call, Hold
from gateway.errors import UpstreamInterrupted

_RENEWALS = 3
_NOT_TOLD = -1


class Progress(Protocol):
    """Who knows what has come of an answer (`gateway.meter.relay.Relay`)."""

    def seen(self) -> tuple[int, int]:
        """(output tokens, input tokens as far as upstream told them)."""


@dataclass(frozen=True, slots=True)
class Terms:
    """How long a hold is let, and when what is told."""

    lease_s: float
    sent_mark_s: float
    progress_s: float
    progress_tokens_max: int
    slice_tokens: int
    extend_wait_s: float


class Grow(Protocol):
    """May a call cost so much more than is held for it, without asking Redis?"""

    def __call__(self, call: Call, more_nano_usd: int, *, is_away: bool) -> bool: ...


def _never(call: Call, more_nano_usd: int, *, is_away: bool) -> bool:
    return False


class Keeper:
    """The leases of one process."""

    def __init__(self, ticker: Ticker, terms: Terms, *, shards: int) -> None:
        self.ticker = ticker
        self.terms = terms
        self.shards = shards
        self.grow: Grow = _never
        self.leases: dict[str, Lease] = {}
        """Those that have not ended, by the ids of their calls."""
        self._timer: asyncio.TimerHandle | None = None

    def begin(self, hold: Hold) -> Lease:
        """Keep a hold until its lease is ended."""
        loop = asyncio.get_running_loop()
        lease = self.leases[hold.call.id.hex] = Lease(self, hold, loop)
        if self._timer is None:
            self._timer = loop.call_later(self.terms.sent_mark_s, self._look, loop)
        return lease

    def keeps(self, lease: Lease) -> bool:
        """Is its call still under way?"""
        return self.leases.get(lease.hold.call.id.hex) is lease

    def registrations(self, shard: int) -> list[tuple[Any, ...]]:
        """How a Redis that may not know them is told of a shard's open calls (`history.lua`, H)."""
        leases = self.leases.values()
        return [x.registration() for x in leases if shard_of(x.hold.call.caller.account_id, self.shards) == shard]

    def open_calls(self) -> Iterator[Call]:
        """The calls that are not over yet."""
        return (lease.hold.call for lease in self.leases.values())

    def __len__(self) -> int:
        return len(self.leases)

    def held(self) -> tuple[int, int]:
        """(how many holds are open, what admission set aside for them in nano-USD)."""
        return len(self.leases), sum(lease.hold.amount_nano_usd for lease in self.leases.values())

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        now_s = loop.time()
        for lease in tuple(self.leases.values()):
            if now_s >= lease.due_s:
                lease.tell()
        self._timer = loop.call_later(self.terms.sent_mark_s, self._look, loop) if self.leases else None


class Lease:
    """One hold while its call lives."""

    __slots__ = (
        "_asked",
        "_gone",
        "_keeper",
        "_loop",
        "_progress",
        "_refused_by",
        "_sent",
        "_told_output",
        "_told_s",
        "_told_unsent",
        "covered_tokens",
        "due_s",
        "hold",
        "is_capped",
        "seen_input_tokens",
        "seen_output_tokens",
    )

    def __init__(self, keeper: Keeper, hold: Hold, loop: asyncio.AbstractEventLoop) -> None:
        self.hold = hold
        self.covered_tokens = hold.output_tokens
        self.is_capped = hold.output_tokens < hold.call.output_tokens_max and any(
            cap != NO_CAP for _, cap in hold.call.caller.money_scopes(str(hold.call.month))
        )
        """Can what is covered be used up before the answer is? Not where all of it is held."""
        self.seen_output_tokens, self.seen_input_tokens = 0, _NOT_TOLD
        self._keeper = keeper
        self._loop = loop
        self._told_s = loop.time()
        self._told_output = 0
        self._sent, self._told_unsent = False, False
        self._gone = False
        self._refused_by: str | None = None
        self._progress: Progress | None = None
        self._asked: asyncio.Future[list[Any]] | None = None
        self.due_s = self._told_s + keeper.terms.sent_mark_s

    def sent(self) -> None:
        """The request is on its way: from now on it may cost."""
        if self._sent:
            return
        self._sent = True
        if self._told_unsent:
            self._ask(self._wanted(self.seen_output_tokens))
        else:
            self.due_s = self._told_s + self._keeper.terms.lease_s / _RENEWALS

    def watch(self, progress: Progress) -> None:
        """Ask there what has come, when something must be told."""
        self._progress = progress

    def has_news(self) -> None:
        """Something has come since the last telling: how much, is asked when it is told."""
        self.due_s = min(self.due_s, self._told_s + self._keeper.terms.progress_s)

    def saw(self, output_tokens: int, input_tokens: int = _NOT_TOLD) -> None:
        """So much of the answer has come."""
        terms = self._keeper.terms
        self.seen_output_tokens = output_tokens
        self.seen_input_tokens = max(self.seen_input_tokens, input_tokens)
        if output_tokens == self._told_output:
            return
        self.due_s = min(self.due_s, self._told_s + terms.progress_s)
        used_up = self._refused_by is None and self._wanted(output_tokens) > self.covered_tokens
        if used_up or output_tokens - self._told_output >= terms.progress_tokens_max:
            self.tell()

    async def cover(self, output_tokens: int) -> None:
        """Returns when so many output tokens are covered; waits for an extension where they are not, no longer than a bound."""
        if not self.is_capped:
            return
        needed = min(output_tokens, self.hold.call.output_tokens_max)
        try:
            async with asyncio.timeout(self._keeper.terms.extend_wait_s):
                while needed > self.covered_tokens:
                    under_way = self._asked
                    if under_way is None:
                        under_way = self._ask(self._wanted(needed))
                        self._refused_by = None
                    await asyncio.wait([under_way])
                    if needed > self.covered_tokens and self._refused_by is not None:
                        raise not_covered(self._refused_by, "has no room left for the rest of this answer")
                    is_away = under_way.exception() is not None
                    if (self._gone or is_away) and not self._grow(needed, is_away=is_away):
                        raise UpstreamInterrupted
        except TimeoutError:
            raise UpstreamInterrupted from None

    def _grow(self, needed_tokens: int, *, is_away: bool) -> bool:
        """Go on within the share of the exposure: a slice more, or what is needed."""
        call = self.hold.call
        for wanted in (self._wanted(needed_tokens), needed_tokens):
            more_nano_usd = -(-(wanted - self.covered_tokens) * call.price.pico[0] // 1000)
            if self._keeper.grow(call, more_nano_usd, is_away=is_away):
                self.covered_tokens = wanted
                return True
        return False

    def registration(self) -> tuple[Any, ...]:
        lease_ms = int(self._keeper.terms.lease_s * 1000)
        told = (int(self._sent), self.seen_output_tokens, self.seen_input_tokens)
        return "H", to_wire_admission(self.hold.call, 0, lease_ms), lease_ms, self.covered_tokens, *told

    def end(self) -> None:
        """The call is over: what becomes of its hold is decided elsewhere."""
        self._keeper.leases.pop(self.hold.call.id.hex, None)

    def tell(self) -> None:
        """Tell what is known now; while an answer is due, that is enough."""
        if self._asked is None:
            if self._progress is not None:
                self.seen_output_tokens, told = self._progress.seen()
                self.seen_input_tokens = max(self.seen_input_tokens, told)
            self._ask(self._wanted(self.seen_output_tokens))

    def _wanted(self, output_tokens: int) -> int:
        """How much to hold, that so much of it is used: half a slice more at least, a slice more when it is asked for."""
        call, a_slice = self.hold.call, self._keeper.terms.slice_tokens
        if call.output_tokens_first is None or output_tokens + a_slice // 2 <= self.covered_tokens:
            return self.covered_tokens
        return min(call.output_tokens_max, output_tokens + a_slice)

    def _ask(self, wanted_tokens: int) -> asyncio.Future[list[Any]]:
        keeper, call = self._keeper, self.hold.call
        lease_ms = int(keeper.terms.lease_s * 1000)
        self._told_unsent = not self._sent
        told = (int(self._sent), self.seen_output_tokens, self.seen_input_tokens)
        shard = shard_of(call.caller.account_id, keeper.shards)
        self._told_s, self._told_output = self._loop.time(), self.seen_output_tokens
        self.due_s = self._told_s + keeper.terms.lease_s / _RENEWALS
        asked = self._asked = keeper.ticker.ask(shard, ("X", call.id.hex, lease_ms, *told, wanted_tokens))
        asked.add_done_callback(self._answered)
        return asked

    def _answered(self, asked: asyncio.Future[list[Any]]) -> None:
        self._asked = None
        if asked.cancelled() or asked.exception() is not None:
            self.due_s = self._loop.time() + self._keeper.terms.progress_s  # Redis is away: again, soon
            return
        reply = asked.result()
        self._refused_by = reply[1] if reply[0] == "no" else None
        self._gone = reply[0] == "gone"
        if not self._gone:
            self.covered_tokens = max(self.covered_tokens, int(reply[2]))
        elif self._keeper.keeps(self):
            self._register()

    def _register(self) -> None:
        """Redis knows no such hold: of a call that goes on without one it is told; one that was swept or settled it knows better."""
        keeper, call = self._keeper, self.hold.call
        shard = shard_of(call.caller.account_id, keeper.shards)
        keeper.ticker.ask(shard, self.registration()).add_done_callback(_heard)


def _heard(asked: asyncio.Future[list[Any]]) -> None:
    """Nobody waits for this reply: where it failed, the next renewal asks again."""
    if not asked.cancelled():
        asked.exception()
