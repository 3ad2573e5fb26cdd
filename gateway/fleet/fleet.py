"""All our keys, and which of them takes the next attempt of a call.

With one key that is well, that is a few attribute reads. With several, the one whose turn it is by weight (smooth weighted round robin,
as nginx has it) among those that are well and have room, those with room by their shown limits first. A key that is out is tried by
one call at a time, when its pause is over; where no key is well, by whoever comes, one at a time, while the others wait a moment
for what that one finds out.
Units: seconds on a steady clock. Errors: none; None is "not now".
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import structlog

from gateway.fleet.breaker import BreakerRules, Health
from gateway.fleet.errand import Errand
from gateway.fleet.member import Member, Seat
from gateway.fleet.turns import QueueRules, Turns
from gateway.roster.keys import UpstreamKey

log = structlog.get_logger("upstream")
NEVER_S = float("inf")


class Fleet:
    """The keys of one process."""

    def __init__(
        self,
        keys: Sequence[UpstreamKey],
        breaker: BreakerRules,
        queue: QueueRules,
        *,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self.members = [Member(place, key, breaker) for place, key in enumerate(keys)]
        self.now = now
        self.turns = Turns(queue, self)
        self.on_change: Callable[[Member], None] | None = None
        self.sharers: Callable[[], int] = _alone
        """How many workers live that have the same keys, this one among them: of a shown limit each takes its part."""
        self._only = self.members[0] if len(self.members) == 1 else None
        self._all_well = True

    # ---- the choice ---------------------------------------------------------------------------------------------------------

    def seat(self, errand: Errand) -> Seat | None:
        """A seat for the first attempt of a call, at once; None where it must wait its turn."""
        member = self._only
        if member is not None and member.healthy:
            quota = member.quotas.get(errand.model) or member.quota(errand.model)
            if not quota.gated and not self.turns.queues:
                errand.attempts += 1
                return Seat(self, member, quota, errand.model, errand.tokens, self.now())
        return None if self.turns.has(errand.model) else self.choose(errand)

    def choose(self, errand: Errand) -> Seat | None:
        """A seat for the next attempt, whoever else waits; None where no key can take it now."""
        now_s = self.now()
        left = [member for member in self.members if member.place not in errand.tried]
        able = [member for member in left if member.healthy and self._has_room(member, errand, now_s)]
        if not self._all_well:
            probed = self._to_probe(left, able, errand, now_s)
            if probed is not None:
                probed.breaker.probing(now_s)
                return self._seat(probed, errand, now_s)
        if not able:
            return None
        fresh = [member for member in able if member.place not in errand.unreached] or able
        if len(fresh) > 1:
            sharers = self.sharers()
            fresh = [m for m in fresh if m.quota(errand.model).seems_open(now_s, errand.tokens, sharers)] or fresh
        return self._seat(_by_weight(fresh), errand, now_s)

    def probe_quota(self, errand: Errand) -> Seat | None:
        """A seat with a key that is well but closed by upstream's word: to see whether that is true, before a caller is refused for it."""
        now_s = self.now()
        for member in self.members:
            if member.healthy and member.place not in errand.tried and now_s >= errand.waits.get(member.place, 0.0):
                quota = member.quota(errand.model)
                if now_s >= quota.probe_from_s:
                    quota.probing(now_s)
                    return self._seat(member, errand, now_s)
        return None

    def probes_at(self, errand: Errand) -> float:
        """When `probe_quota` may give one; `NEVER_S` where it will not."""
        at_s = NEVER_S
        for member in self.members:
            if member.healthy and member.place not in errand.tried:
                at_s = min(at_s, max(member.quota(errand.model).probe_from_s, errand.waits.get(member.place, 0.0)))
        return at_s

    def opens_at(self, errand: Errand) -> float:
        """When a seat may be had, as far as is known; `NEVER_S` where no key is left for this call."""
        now_s, at_s, has_well = self.now(), NEVER_S, self.has_well(errand)
        for member in self.members:
            if member.place in errand.tried:
                continue
            if member.healthy:
                quota = member.quota(errand.model)
                at_s = min(at_s, max(quota.opens_at(now_s), errand.waits.get(member.place, 0.0)))
            else:
                at_s = min(at_s, max(member.breaker.due_at() if has_well else member.breaker.probe_known_at(), now_s))
        return at_s

    def none_left(self, errand: Errand) -> bool:
        """Has every key failed this call for good?"""
        return len(set(errand.tried)) == len(self.members)

    def has_well(self, errand: Errand) -> bool:
        """Is there a key that is well, and that has not failed this call for good?"""
        return any(member.healthy and member.place not in errand.tried for member in self.members)

    def has_fresh(self, errand: Errand) -> bool:
        """Is there a key that has not failed it in any way?"""
        return any(m.healthy and m.place not in errand.tried and m.place not in errand.unreached for m in self.members)

    @property
    def any_well(self) -> bool:
        return self._all_well or any(member.healthy for member in self.members)

    def per_second(self, model: str) -> float:
        """How many calls a second of this worker the limits allow that are shown; 0 = nobody knows."""
        shown = [member.quota(model).shown for member in self.members if member.healthy]
        return sum(each.requests / each.span_s for each in shown) / self.sharers()

    def calls_per_token(self, model: str) -> float:
        """How many calls' worth of quota a token is, by the limits that are shown; 0 = nobody knows."""
        shown = [member.quota(model).shown for member in self.members]
        requests, tokens = sum(each.requests for each in shown), sum(each.tokens for each in shown)
        return requests / tokens if tokens else 0.0

    def _has_room(self, member: Member, errand: Errand, now_s: float) -> bool:
        quota = member.quota(errand.model)
        if quota.gated and not quota.may_send(now_s):
            return False
        return not errand.waits or now_s >= errand.waits.get(member.place, 0.0)

    def _to_probe(self, left: list[Member], able: list[Member], errand: Errand, now_s: float) -> Member | None:
        """Which key that is out this call tries, if any."""
        out = [member for member in left if not member.healthy]
        if able:
            return next((member for member in out if not errand.attempts and member.breaker.is_due(now_s)), None)
        if len(out) < len(
            left
        ):  # a key that is well will have room again: till then there is time to see what became of others
            return next((member for member in out if member.breaker.is_due(now_s)), None)
        free = [member for member in out if not member.breaker.is_probed(now_s)]
        fresh = [member for member in free if member.place not in errand.unreached] or free
        return min(fresh, key=lambda member: member.breaker.tried_at_s, default=None)

    def _seat(self, member: Member, errand: Errand, now_s: float) -> Seat:
        errand.attempts += 1
        return Seat(self, member, member.quota(errand.model), errand.model, errand.tokens, now_s)

    # ---- from the seats -----------------------------------------------------------------------------------------------------

    def changed(self, member: Member) -> None:
        """A key went out, or came back."""
        self._all_well = all(each.healthy for each in self.members)
        breaker = member.breaker
        if member.healthy:
            log.info("upstream_key_back", key=member.key.name)
        else:
            level = log.error if breaker.health is Health.REFUSED else log.warning
            level("upstream_key_out", key=member.key.name, health=breaker.health.value, reason=breaker.reason)
        if self.on_change is not None:
            self.on_change(member)
        if self.turns.queues:
            self.turns.pump_soon()

    def freed(self, model: str) -> None:
        """Something may have become possible for those who wait for a model."""
        if self.turns.queues:
            self.turns.pump_soon()


def _alone() -> int:
    return 1


def _by_weight(members: list[Member]) -> Member:
    if len(members) == 1:
        return members[0]
    total = 0
    for member in members:
        member.credit += member.key.weight
        total += member.key.weight
    best = max(members, key=lambda member: member.credit)
    best.credit -= total
    return best
