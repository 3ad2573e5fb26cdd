"""Which faults were at work when: so that what one fault did is told from what only two at once can do. Pure. Units: nanoseconds.

A fault is at work from when it was done until it was undone, not a moment longer: what comes after has to be right again. A hang-up of a
client, and a connection that the proxy breaks, are no faults here: callers do that every day.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from tests.chaos.faults import Struck
from tests.chaos.load import Attempt, Told

_PARTS = {"fill disk": ("kill redis", "fill disk")}
"""A full disk is done together with a Redis that is away: else nobody would need the disk."""
_FORGETS = ("kill redis", "fail over redis")
_FORGOTTEN_NS = 2_000_000_000
"""What Redis may forget: a replica of a second ago, and the second before a write is synced (`appendfsync everysec`)."""
_AFTER_NS = 4_000_000_000
"""How long after a store came back a worker on a busy machine may still find its connections broken, or know nothing yet."""
_CODE, _KEY = re.compile(rb'"code":"service_unavailable"'), re.compile(rb'"key_id":null')
_CALL = re.compile(rb'"call_id":"([^"]+)"')


@dataclass(frozen=True)
class Blame:
    """The faults of a run."""

    struck: Sequence[Struck]

    def at_once(self, from_ns: int, until_ns: int) -> set[str]:
        """The most faults that were at work at one instant of a span."""
        most: set[str] = set()
        within = [s for s in self.struck if s.from_ns <= until_ns and s.until_ns >= from_ns]
        for instant in (max(s.from_ns, from_ns) for s in within):
            kinds = {part for s in within if s.from_ns <= instant <= s.until_ns for part in kinds_of(s)}
            most = max(most, kinds, key=len)
        return most

    def by_two(self, told: Told) -> bool:
        """Were two faults at work at once while this call was?"""
        return len(self.at_once(told.begun_ns, told.ended_ns)) > 1

    def died(self, told: Told) -> int:
        """How many workers were killed, stopped or paused between this call's first attempt and its last: so often, at most, may its
        attempts be of one call."""
        last_ns = told.tries[-1].ended_ns if told.tries else told.ended_ns
        return sum(
            "worker" in kind
            for s in self.struck
            if s.from_ns <= last_ns and s.until_ns >= told.begun_ns
            for kind in kinds_of(s)
        )

    def may_be_lost(self, told: Told) -> bool:
        """A worker and Redis's memory went at once: lost may be what was under way, or settled so shortly before that Redis forgot it."""
        return any(
            told.begun_ns <= s.until_ns and told.ended_ns >= s.from_ns - _FORGOTTEN_NS
            for s in self.struck
            if "kill worker" in kinds_of(s) and not set(_FORGETS).isdisjoint(kinds_of(s))
        )

    def explains_refusal(self, attempt: Attempt, *, key_was_unknown: bool) -> bool:
        """A call was told that our stores are away: were they? A worker that does not know the key needs Postgres; else it is Redis that
        cannot be asked, or Postgres after Redis forgot an account."""
        stores = ("postgres",) if key_was_unknown else ("redis", "postgres")
        return any(
            attempt.begun_ns <= s.until_ns + _AFTER_NS and attempt.ended_ns >= s.from_ns
            for s in self.struck
            for kind in kinds_of(s)
            if kind.split()[-1] in stores
        )


def kinds_of(struck: Struck) -> tuple[str, ...]:
    """One by one what was done."""
    return tuple(part for kind in struck.kind.split(" + ") for part in _PARTS.get(kind, (kind,)))


def of_unknown_keys(log: bytes, call_ids: Sequence[str]) -> set[str]:
    """Those of these refused calls, by the gateway's own log, whose key could not be read: no caller is named."""
    refused = (line for line in log.splitlines() if _CODE.search(line) and _KEY.search(line))
    return {found[1].decode() for line in refused if (found := _CALL.search(line))} & set(call_ids)
