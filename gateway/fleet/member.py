"""One key of the fleet, and one attempt with it.

Units: seconds on a steady clock, tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

from gateway.fleet.breaker import Breaker, BreakerRules
from gateway.fleet.quota import Quota, from_wire_limits
from gateway.roster.keys import UpstreamKey

RESULTS = ("served", "quota", "refused", "broken", "unreachable", "lost")
"""What becomes of an attempt: an answer (a refusal that is the caller's own is one), 429, our key refused, 5xx, never sent, no answer."""
_MODELS_MAX = 256


class Member:
    """A key: its health, its quotas by model, its share of the calls."""

    __slots__ = ("breaker", "counts", "credit", "healthy", "key", "place", "quotas")

    def __init__(self, place: int, key: UpstreamKey, rules: BreakerRules) -> None:
        self.place = place
        self.key = key
        self.breaker = Breaker(rules)
        self.healthy = True
        self.quotas: dict[str, Quota] = {}
        self.credit = 0
        self.counts = dict.fromkeys(RESULTS, 0)

    def quota(self, model: str) -> Quota:
        """Its room for a model; only models with a price get here, and of these the latest few hundred are remembered."""
        quota = self.quotas.get(model)
        if quota is None:
            if len(self.quotas) >= _MODELS_MAX:
                del self.quotas[next(iter(self.quotas))]
            quota = self.quotas[model] = Quota()
        return quota


class Home(Protocol):
    """The fleet, as its seats see it."""

    def now(self) -> float: ...
    def changed(self, member: Member) -> None: ...
    def freed(self, model: str) -> None: ...


class Seat:
    """One attempt of a call with one key. It ends in exactly one of the ways below; `used` may follow."""

    __slots__ = ("_epoch", "_model", "_quota", "_tokens", "home", "member")

    def __init__(self, home: Home, member: Member, quota: Quota, model: str, tokens: int, now_s: float) -> None:
        self.member = member
        self.home = home
        self._quota = quota
        self._model = model
        self._tokens = tokens
        self._epoch = quota.epoch
        quota.sent(now_s, tokens)

    @property
    def key_name(self) -> str:
        """The key's public name."""
        return self.member.key.name

    def served(self, headers: Callable[[], Mapping[str, str]]) -> None:
        """It was answered, and the key is well. `headers` are looked at now and then."""
        member, quota = self.member, self._quota
        member.counts["served"] += 1
        quota.served(self._epoch)
        if not member.healthy:
            self._recovered()
        elif member.breaker.failures:
            member.breaker.served()
        now_s = self.home.now()
        if quota.wants_to_learn(now_s):
            quota.learn(now_s, from_wire_limits(headers()))
        if quota.gated:
            self.home.freed(self._model)

    def used(self, tokens: int) -> None:
        """So many tokens it turned out to be."""
        self._quota.corrected(tokens - self._tokens)
        self._tokens = tokens

    def out_of_quota(self, headers: Mapping[str, str], wait_s: float) -> None:
        """429 too_many_requests. The key itself is well."""
        now_s = self.home.now()
        self.member.counts["quota"] += 1
        self._quota.learn(now_s, from_wire_limits(headers))
        self._quota.refused(now_s, self._tokens, wait_s)
        if not self.member.healthy:
            self._recovered()
        self.home.freed(self._model)

    def refused(self, reason: str) -> None:
        """Upstream refuses the key: 401, 403, or its spending cap."""
        self._take_back("refused")
        if self.member.breaker.refused(self.home.now(), reason):
            self._changed()
        self.home.freed(self._model)

    def unreachable(self) -> None:
        """Nothing was sent."""
        self._take_back("unreachable")
        self._failed("unreachable")

    def failed(self, result: str, reason: str) -> None:
        """It brought no answer ("lost"), or one that says that upstream is broken."""
        self._quota.ended()
        self.member.counts[result] += 1
        self._failed(reason)

    def given_up(self) -> None:
        """The caller's time was up, or its worker stops: nothing is learnt from that."""
        self._quota.ended()
        self.member.breaker.unprobed()
        self.home.freed(self._model)

    def broke_off(self) -> None:
        """After an answer had begun."""
        if self.member.breaker.failed(self.home.now(), "answers break off"):
            self._changed()

    def _take_back(self, result: str) -> None:
        self.member.counts[result] += 1
        self._quota.ended()
        now_s = self.home.now()
        self._quota.uncounted(now_s, self._tokens)

    def _failed(self, reason: str) -> None:
        if self.member.breaker.failed(self.home.now(), reason):
            self._changed()
        self.home.freed(self._model)

    def _recovered(self) -> None:
        self.member.breaker.served()
        self._changed()

    def _changed(self) -> None:
        self.member.healthy = self.member.breaker.is_closed
        self.home.changed(self.member)
