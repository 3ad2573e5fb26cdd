"""The script against a small model in plain Python: whatever is asked in whatever order, both say the same.

At every step: Σ (held + charged) ≤ cap, nothing is negative, and what the ledger will bill, exact, is never above the cap either.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction

from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from billing.ledger.read import RunningTotal
from billing.usage import Usage
from gateway.call import Hold, RateLimit
from gateway.errors import BudgetExceeded, RateLimited
from tests.gateway.admission.model import Model, Prices, counts_of
from tests.gateway.admission.shard import Shard
from tests.gateway.values import Books, a_call, a_caller, a_price, new_account_id

NOW = datetime.now(UTC)
DISCOUNT = "0.33333333"  # so that a token's price is no whole number of pico-USD
PRICE = a_price(discount=DISCOUNT)
LEFT = 1 - Fraction(DISCOUNT)
PRICES = Prices(
    {"output": PRICE.pico_usd("output"), "input": PRICE.pico_usd("input"), "cached": PRICE.pico_usd("cached_input")},
    {"output": 1_200_000 * LEFT, "input": 300_000 * LEFT, "cached": 60_000 * LEFT},
)
SWEPT_MS = 3_600_000

Step = tuple[str, int, int, int, int]
WHATS = ("admit", "admit", "admit", "extend", "extend", "settle", "settle", "again", "free", "crash", "late", "drain")
steps = st.lists(
    st.tuples(st.sampled_from(WHATS), st.integers(0, 30), st.integers(0, 12), st.integers(0, 12), st.integers(0, 24)),
    min_size=4,
    max_size=40,
)


class Run:
    """Plays steps on both, and compares after each."""

    def __init__(self, shard: Shard, model: Model) -> None:
        self.model = model
        self.books = Books()
        for at, (grant, tokens) in enumerate(model.grants.items()):
            self.books.grant(grant, tokens, NOW - timedelta(days=1), NOW + timedelta(days=1 + at))
        self.books.grant("gra_over", 50, NOW - timedelta(days=9), NOW - timedelta(days=8))
        self.shard = Shard(shard.redis, self.books)
        self.account = new_account_id()
        self.holds: list[Hold] = []
        self.lost: list[Hold] = []
        self.settled: list[tuple[Hold, Usage, Decimal]] = []
        self.month = ""

    async def play(self, step: Step) -> None:
        what, which, prompt, output, more = step
        if what == "admit":
            await self.admit(f"key_{which % 2}", prompt, output, which % 3)
        elif what == "again" and self.settled:
            hold, usage, cost_usd = self.settled[which % len(self.settled)]
            assert (await self.shard.settle(hold, usage)).cost_usd == cost_usd
            await self.shard.admission.give_back(hold)
        elif what == "drain":
            await self.drain(which)
        elif what == "late" and self.lost:
            await self.settle(self.lost.pop(which % len(self.lost)), Usage(prompt, which % 3, more))
        elif self.holds and what == "extend":
            await self.extend(self.holds[which % len(self.holds)], which % 4 > 0, output, more)
        elif self.holds and what in ("settle", "free", "crash"):
            hold = self.holds.pop(which % len(self.holds))
            if what == "settle":
                await self.settle(hold, Usage(prompt, which % 3, more))
            elif what == "free":
                self.model.free_hold(hold.call.id.hex)
                await self.shard.admission.give_back(hold)
            else:
                await self.crash(hold)

    async def admit(self, key: str, prompt: int, output: int, output_min: int) -> None:
        limits = [RateLimit(f"a:{self.account}", concurrency=self.model.concurrency)]
        caller = a_caller(
            self.account, key_id=key, cap_nano=self.model.cap, key_cap_nano=self.model.key_caps[key], limits=limits
        )
        call = a_call(caller, prompt_max=prompt, output_max=output, output_min=output_min, price=PRICE)
        self.month = str(call.month)
        expected = self.model.admit(call.id.hex, key, prompt, output, output_min)
        try:
            hold = await self.shard.admit(call)
            said = "ok"
        except RateLimited:
            said = "concurrency"
        except BudgetExceeded:
            said = "money"
        assert said == expected
        event(f"admission: {said}")
        if said == "ok":
            held = self.model.held[call.id.hex]
            assert (hold.amount_nano_usd, hold.output_tokens) == (held.amount, held.output)
            event(f"grants in the hold: {held.granted > 0}, fewer tokens: {held.output < output}")
            self.holds.append(hold)

    async def extend(self, hold: Hold, sent: bool, seen: int, wanted: int) -> None:
        call = hold.call.id.hex
        expected = self.model.extend(call, sent=sent, seen=seen, wanted=wanted)
        reply = await self.shard.ask("X", call, 60_000, int(sent), seen, -1, wanted)
        assert reply[0] == expected
        assert reply[-1] == self.model.held[call].output
        event(f"extension: {expected}")

    async def settle(self, hold: Hold, usage: Usage) -> None:
        counts = counts_of(usage.output_tokens, usage.input_tokens, usage.cached_input_tokens)
        _, absorbed = self.model.settle(hold.call.id.hex, hold.call.caller.key_id, counts)
        settlement = await self.shard.settle(hold, usage)
        assert settlement.absorbed == Usage(absorbed["input"], absorbed["cached"], absorbed["output"])
        assert Fraction(settlement.cost_usd) * 10**9 == self.model.stream[-1].exact
        event(f"something absorbed: {settlement.absorbed != Usage()}")
        self.settled.append((hold, usage, settlement.cost_usd))

    async def crash(self, hold: Hold) -> None:
        """Its worker is gone, and its lease is over."""
        call = hold.call.id.hex
        event(f"orphan was sent: {self.model.held[call].sent}")
        sent = self.model.held[call].sent
        self.model.sweep([call], lambda _: hold.call.prompt_tokens_best)
        await self.shard.expire(hold.call)
        assert await self.shard.ask("W", 10, SWEPT_MS) == ["ok", int(sent), int(not sent)]
        assert (await self.shard.ask("X", call, 60_000, 1, 1, -1, 1)) == ["gone"]
        self.lost.append(hold)

    async def drain(self, count: int) -> None:
        """What the drain does, the ledger being `books`."""
        records = (await self.shard.records())[:count]
        done = self.model.drain(count)
        assert [record.nano_usd for record in records] == [booked.moved for booked in done]
        totals = []
        for scope, key in self.scopes():
            exact_nano = self.model.exact(key)
            entries = sum(1 for booked in self.model.drained if key in (None, booked.key))
            totals.append((self.account, scope, -int(-exact_nano // 1), entries))
            if key is not None:
                cost = Decimal(exact_nano.numerator) / exact_nano.denominator / 10**9
                self.books.totals[self.month, key] = RunningTotal(cost, entries)
        await self.shard.ask("D", [record.done() for record in records], totals)

    def scopes(self) -> list[tuple[str, str | None]]:
        return [(f"m:{self.month}", None), *((f"k:{key}:{self.month}", key) for key in self.model.key_caps)]

    async def compare(self) -> None:
        if not self.month:
            return
        model, scopes = self.model, self.scopes()
        rows, grants = await self.shard.admission.in_hand(self.account, [scope for scope, _ in scopes])
        for (counted, pending, held), (_, key) in zip(rows, scopes, strict=True):
            cap = model.cap if key is None else model.key_caps[key]
            assert min(held, counted + pending) >= 0
            assert (counted + pending, held) == (model.charged(key), model.held_nano(key))
            assert counted + pending + held <= cap
            billed = {b.call: b.exact for b in (*model.drained, *model.stream) if key in (None, b.key)}
            assert sum(billed.values()) <= cap
        account = await self.shard.account(self.account)
        if model.held or model.drained or model.stream:
            assert {grant[0]: grant[3] for grant in grants} == {**model.grants, "gra_over": 50}
        assert min(model.grants.values()) >= 0
        assert account.get("rv", 0) == model.reserved <= sum(model.grants.values())
        assert account.get(f"i:a:{self.account}", 0) == len(model.held)
        assert await self.shard.holds() == len(model.held)
        assert len(await self.shard.records()) == len(model.stream)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.tuples(*[st.integers(0, 40_000)] * 3), st.integers(1, 6), st.integers(0, 30), st.integers(0, 30), steps)
async def test_the_script_and_the_model_never_disagree(
    shard: Shard, caps: tuple[int, ...], concurrency: int, first_grant: int, second_grant: int, played: list[Step]
) -> None:
    await shard.redis.flushall()
    grants = {"gra_1": first_grant, "gra_2": second_grant}
    run = Run(shard, Model(caps[0], {"key_0": caps[1], "key_1": caps[2]}, concurrency, PRICES, grants))
    try:
        for step in played:
            await run.play(step)
            await run.compare()
    finally:
        await run.shard.pipe.close()
