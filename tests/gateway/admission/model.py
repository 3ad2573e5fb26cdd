"""Budgets of one account in plain Python, by other means than the script's: sums over lists, and searches where it has formulas.

Units: nano-USD, tokens. Prices stand in whole pico-USD, rounded up, as the script is told; the exact ones beside them as fractions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from fractions import Fraction

KINDS = ("output", "input", "cached")
Counts = dict[str, int]
Taken = list[tuple[str, int, int]]


def counts_of(output: int, fresh: int, cached: int) -> Counts:
    return {"output": output, "input": fresh, "cached": cached}


def nano_up(amount: Fraction | int) -> int:
    return -int(-Fraction(amount) // 1)


@dataclass
class Prices:
    """Pico-USD a token, rounded up, and exact."""

    pico: Counts
    exact: dict[str, Fraction]

    def nano(self, counts: Counts) -> int:
        return nano_up(sum(Fraction(counts[kind] * self.pico[kind], 1000) for kind in KINDS))

    def exact_nano(self, counts: Counts) -> Fraction:
        return sum((counts[kind] * self.exact[kind] / 1000 for kind in KINDS), Fraction(0))


@dataclass
class HeldCall:
    """What is set aside for one call."""

    key: str
    prompt: int
    output: int
    amount: int
    granted: int = 0
    sent: bool = True
    output_seen: int = 0


@dataclass
class Booked:
    """A record on its way to the ledger."""

    call: str
    key: str
    moved: int
    exact: Fraction


@dataclass
class Model:
    """An account with a cap, keys with caps, a limit of calls at once, and grants in the order of their expiry."""

    cap: int
    key_caps: dict[str, int]
    concurrency: int
    prices: Prices
    grants: dict[str, int]
    held: dict[str, HeldCall] = field(default_factory=dict)
    stream: list[Booked] = field(default_factory=list)
    drained: list[Booked] = field(default_factory=list)
    swept: dict[str, tuple[int, Taken]] = field(default_factory=dict)

    # ---- what there is ------------------------------------------------------------------------------------------------------

    def exact(self, key: str | None = None) -> Fraction:
        """What the ledger says: of a call that was booked twice, the last."""
        ledger = {booked.call: booked.exact for booked in self.drained if key in (None, booked.key)}
        return sum(ledger.values(), Fraction(0))

    def charged(self, key: str | None = None) -> int:
        return nano_up(self.exact(key)) + sum(booked.moved for booked in self.stream if key in (None, booked.key))

    def held_nano(self, key: str | None = None) -> int:
        return sum(held.amount for held in self.held.values() if key in (None, held.key))

    def room(self, key: str) -> int:
        account = self.cap - self.charged() - self.held_nano()
        return max(0, min(account, self.key_caps[key] - self.charged(key) - self.held_nano(key)))

    @property
    def reserved(self) -> int:
        return sum(held.granted for held in self.held.values())

    @property
    def free(self) -> int:
        return max(0, sum(self.grants.values()) - self.reserved)

    def bound(self, prompt: int, output: int, granted: int) -> int:
        """The dearest a call can become: all its tokens but the granted ones, output granted first."""
        output_paid = output - min(output, granted)
        prompt_paid = prompt - min(prompt, granted - min(output, granted))
        return self.prices.nano(counts_of(output_paid, prompt_paid, 0))

    # ---- what happens -------------------------------------------------------------------------------------------------------

    def admit(self, call: str, key: str, prompt: int, output: int, output_min: int) -> str:
        if len(self.held) >= self.concurrency:
            return "concurrency"
        room, free = self.room(key), self.free
        amount, granted = self.bound(prompt, output, 0), 0
        if amount > room:
            if self.bound(prompt, output, free) > room:
                output = most(range(output + 1), lambda n: self.bound(prompt, n, free) <= room)
                if output_min == 0 or output < output_min:
                    return "money"
            granted = min(free, output + prompt)
            amount = self.bound(prompt, output, granted)
        self.held[call] = HeldCall(key, prompt, output, amount, granted)
        return "ok"

    def extend(self, call: str, *, sent: bool, seen: int, wanted: int) -> str:
        held = self.held.get(call)
        if held is None:
            return "gone"
        held.sent, held.output_seen = sent, max(held.output_seen, seen)
        if wanted <= held.output:
            return "ok"
        room, free = held.amount + self.room(held.key), self.free
        output = wanted
        if self.bound(held.prompt, wanted, held.granted) > room:
            output = most(range(wanted + 1), lambda n: self.bound(held.prompt, n, held.granted + free) <= room)
        else:
            free = 0
        if output <= held.output:
            return "no"
        held.granted = min(held.granted + free, output + held.prompt)
        held.output, held.amount = output, self.bound(held.prompt, output, held.granted)
        return "ok"

    def settle(self, call: str, key: str, counts: Counts) -> tuple[Taken, Counts]:
        """→ (what grants paid, what was absorbed)"""
        self.held.pop(call, None)
        credit, before = self.swept.pop(call, (0, []))
        for grant, _, tokens in before:
            self.grants[grant] += tokens
        return self._charge(call, key, counts, self.room(key) + credit, credit)

    def free_hold(self, call: str) -> None:
        self.held.pop(call, None)

    def sweep(self, calls: Iterable[str], prompt_best: Callable[[str], int]) -> None:
        for call in calls:
            held = self.held.pop(call)
            if held.sent:
                counts = counts_of(held.output_seen, prompt_best(call), 0)
                room = min(self.room(held.key), held.amount)
                taken, absorbed = self._charge(call, held.key, counts, room, 0)
                paid = {kind: counts[kind] - absorbed[kind] - _granted(taken)[kind] for kind in KINDS}
                least = sum(paid[kind] * (self.prices.pico[kind] - 1) for kind in KINDS) // 1000
                self.swept[call] = (max(0, least), taken)

    def _fits(self, kept: Counts, kind: str, room: int) -> Callable[[int], bool]:
        return lambda n: self.prices.nano({**kept, kind: n}) <= room

    def drain(self, count: int) -> list[Booked]:
        done, self.stream = self.stream[:count], self.stream[count:]
        self.drained += done
        return done

    def _charge(self, call: str, key: str, counts: Counts, room: int, credit: int) -> tuple[Taken, Counts]:
        taken: Taken = []
        free = self.free
        for at, kind in enumerate(KINDS):
            for grant in self.grants:
                tokens = min(counts[kind] - _granted(taken)[kind], self.grants[grant], free)
                if tokens > 0:
                    self.grants[grant] -= tokens
                    free -= tokens
                    taken.append((grant, at + 1, tokens))
        paid = {kind: counts[kind] - _granted(taken)[kind] for kind in KINDS}
        kept = counts_of(0, 0, 0)
        for kind in ("input", "cached", "output"):
            kept[kind] = most(range(paid[kind] + 1), self._fits(kept, kind, room))
        self.stream.append(Booked(call, key, self.prices.nano(kept) - credit, self.prices.exact_nano(kept)))
        return taken, {kind: paid[kind] - kept[kind] for kind in KINDS}


def most(tried: range, fits: Callable[[int], bool]) -> int:
    """The largest that fits; −1 where none does."""
    return max((n for n in tried if fits(n)), default=-1)


def _granted(taken: Taken) -> Counts:
    granted = counts_of(0, 0, 0)
    for _, kind, tokens in taken:
        granted[KINDS[kind - 1]] += tokens
    return granted
