"""Shares: whatever is cut off, comes back, ends or dies, and in whatever order, no cap is passed by more than the exposure."""

from __future__ import annotations

from dataclasses import dataclass, field

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from gateway.admission.offline import Scope, Shares

EXPOSURE, WORKERS = 60, 2
SHARE = EXPOSURE // WORKERS
CAPS: dict[Scope, int] = {("acc", "m"): 100, ("acc", "k:1"): 40, ("acc", "k:2"): 500}
KEYS = st.sampled_from(["k:1", "k:2"])
WHO = st.integers(min_value=0, max_value=WORKERS - 1)
AMOUNT = st.sampled_from([1, 7, SHARE // 2, SHARE])


def scopes_of(key: str) -> list[Scope]:
    return [("acc", "m"), ("acc", key)]


@dataclass
class Worker:
    """One worker: its shares, the calls that it let through, and what it has not told Redis yet."""

    shares: Shares = field(default_factory=lambda: Shares(SHARE, scopes_max=10))
    cut_off: bool = False
    open: list[tuple[str, int]] = field(default_factory=list)
    online: list[tuple[str, int]] = field(default_factory=list)
    journal: list[tuple[str, int]] = field(default_factory=list)


class Outages(RuleBasedStateMachine):
    """Redis as sums per scope, workers that lose and find it, and every order of what they do."""

    def __init__(self) -> None:
        super().__init__()
        self.redis = dict.fromkeys(CAPS, 0)
        self.workers = [Worker() for _ in range(WORKERS)]

    def count(self, key: str, amount: int) -> None:
        for scope in scopes_of(key):
            self.redis[scope] += amount

    @initialize()
    def every_worker_has_met_redis(self) -> None:
        for who in range(WORKERS):
            for key in ("k:1", "k:2"):
                self.admit_while_redis_is_there(who, key, 1)

    @rule(who=WHO)
    def cut_off_or_back(self, who: int) -> None:
        self.workers[who].cut_off = not self.workers[who].cut_off

    def admit_while_redis_is_there(self, who: int, key: str, amount: int) -> None:
        if all(self.redis[scope] + amount <= CAPS[scope] for scope in scopes_of(key)):
            self.count(key, amount)
            self.workers[who].shares.renew(scopes_of(key), 1)
            self.workers[who].online.append((key, amount))

    @rule(who=WHO, key=KEYS, amount=AMOUNT)
    def admit(self, who: int, key: str, amount: int) -> None:
        worker = self.workers[who]
        if not worker.cut_off:
            self.admit_while_redis_is_there(who, key, amount)
        elif worker.shares.take(scopes_of(key), 1, amount):
            worker.open.append((key, amount))

    @rule(who=WHO, key=KEYS)
    def meet_redis_for_one_call_and_lose_it_again(self, who: int, key: str) -> None:
        self.admit_while_redis_is_there(who, key, 1)
        self.workers[who].cut_off = True

    @rule(who=WHO, key=KEYS)
    def admit_all_there_is_room_for(self, who: int, key: str) -> None:
        room = min(CAPS[scope] - self.redis[scope] for scope in scopes_of(key))
        if room > 0 and not self.workers[who].cut_off:
            self.admit_while_redis_is_there(who, key, room)

    @precondition(lambda self: any(worker.open for worker in self.workers))
    @rule(who=WHO, more=AMOUNT)
    def extend(self, who: int, more: int) -> None:
        worker = self.workers[who]
        if worker.cut_off and worker.open and worker.shares.grow(scopes_of(worker.open[0][0]), more):
            key, amount = worker.open.pop(0)
            worker.open.append((key, amount + more))

    @precondition(lambda self: any(worker.open for worker in self.workers))
    @rule(who=WHO, part=st.integers(min_value=0, max_value=100))
    def end(self, who: int, part: int) -> None:
        worker = self.workers[who]
        if worker.open:
            key, amount = worker.open.pop(0)
            cost = amount * part // 100
            worker.shares.ended(scopes_of(key), amount, cost)
            worker.journal.append((key, cost))

    @rule(who=WHO)
    def end_of_one_that_redis_admitted(self, who: int) -> None:
        """Its hold stays in Redis until the journal is told: no money beyond it."""
        worker = self.workers[who]
        if worker.online and not worker.cut_off:
            key, amount = worker.online.pop(0)
            self.count(key, -amount // 2)

    @precondition(lambda self: any(worker.journal for worker in self.workers))
    @rule(who=WHO)
    def tell(self, who: int) -> None:
        worker = self.workers[who]
        if worker.journal and not worker.cut_off:
            key, cost = worker.journal.pop(0)
            self.count(key, cost)
            worker.shares.told(scopes_of(key), cost)

    @invariant()
    def no_cap_is_passed_by_more_than_the_exposure(self) -> None:
        for scope, cap in CAPS.items():
            untold = sum(
                amount
                for worker in self.workers
                for key, amount in (*worker.open, *worker.journal)
                if scope in scopes_of(key)
            )
            assert self.redis[scope] + untold <= cap + EXPOSURE

    @invariant()
    def no_worker_lets_more_through_untold_than_its_share(self) -> None:
        for worker in self.workers:
            assert sum(amount for _, amount in (*worker.open, *worker.journal)) <= SHARE


TestOutages = Outages.TestCase
TestOutages.settings = settings(max_examples=60, stateful_step_count=50, deadline=None)


def test_the_whole_exposure_can_be_used_and_not_one_nano_more() -> None:
    shares = Shares(SHARE, scopes_max=10)
    shares.renew(scopes_of("k:1"), 1)
    assert shares.take(scopes_of("k:1"), 1, SHARE)
    assert not shares.take(scopes_of("k:1"), 1, 1)


def test_what_ended_for_less_leaves_room_and_what_redis_was_told_does_not() -> None:
    shares = Shares(SHARE, scopes_max=10)
    shares.renew(scopes_of("k:1"), 1)
    assert shares.take(scopes_of("k:1"), 1, SHARE)
    shares.ended(scopes_of("k:1"), SHARE, 10)
    shares.told(scopes_of("k:1"), 10)
    assert not shares.take(scopes_of("k:1"), 1, SHARE - 9)
    assert shares.take(scopes_of("k:1"), 1, SHARE - 10)


def test_there_is_no_lease_without_an_admission_under_the_same_terms_or_without_an_exposure() -> None:
    shares = Shares(SHARE, scopes_max=10)
    assert not shares.take(scopes_of("k:1"), 1, 1)
    shares.renew(scopes_of("k:1"), 1)
    assert not shares.take(scopes_of("k:1"), 2, 1)
    assert not shares.take(scopes_of("k:2"), 1, 1)
    none = Shares(0, scopes_max=10)
    none.renew(scopes_of("k:1"), 1)
    assert not none.take(scopes_of("k:1"), 1, 1)


def test_the_number_of_leases_is_bounded_and_none_that_owes_is_forgotten() -> None:
    shares = Shares(SHARE, scopes_max=2)
    shares.renew([("acc", "owes")], 1)
    assert shares.take([("acc", "owes")], 1, SHARE)
    for name in ("b", "c", "d", "e"):
        shares.renew([("acc", name)], 1)
    assert not shares.take([("acc", "owes")], 1, 1)
    assert not shares.take([("acc", "b")], 1, 1)
    assert len(shares._shares) <= 3
