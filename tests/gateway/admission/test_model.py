"""The script against a tiny model in plain Python: whatever is asked in whatever order, both say the same.

At every step: Σ (held + pending + counted) ≤ cap, nothing is negative, and the ledger's own sum is what was charged.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from billing.ledger.read import RunningTotal
from billing.usage import Usage
from gateway.call import Call, Hold, RateLimit
from gateway.errors import BudgetExceeded, InsufficientQuota, RateLimited
from tests.gateway.admission.shard import Shard
from tests.gateway.values import INPUT_NANO, OUTPUT_NANO, Books, a_call, a_caller, new_account_id

GRANT = 40
NOW = datetime.now(UTC)


@dataclass
class Model:
    """An account with a cap, keys with caps, a limit of calls at once, and one grant."""

    cap: int
    key_caps: dict[str, int]
    concurrency: int
    grant: int = GRANT
    held: dict[Call, int] = field(default_factory=dict, hash=False)
    charged: list[tuple[str, int]] = field(default_factory=list)
    drained: int = 0

    def verdict(self, key: str, amount: int) -> str:
        if len(self.held) >= self.concurrency:
            return "concurrency"
        if self.taken() + amount > self.cap or self.taken(key) + amount > self.key_caps[key]:
            return "money"
        return "ok"

    def taken(self, key: str | None = None) -> int:
        held = sum(amount for call, amount in self.held.items() if key in (None, call.caller.key_id))
        return held + sum(nano for of, nano in self.charged if key in (None, of))

    def charge(self, call: Call, usage: Usage) -> int:
        self.held.pop(call)
        paid_output = min(usage.output_tokens, self.grant)
        paid_input = min(usage.input_tokens, self.grant - paid_output)
        self.grant -= paid_output + paid_input
        nano = (usage.output_tokens - paid_output) * OUTPUT_NANO + (usage.input_tokens - paid_input) * INPUT_NANO
        self.charged.append((call.caller.key_id, nano))
        return nano


Step = tuple[str, int, int, int]
steps = st.lists(
    st.tuples(
        st.sampled_from(("admit", "admit", "admit", "settle", "settle", "again", "give back", "drain")),
        st.integers(0, 30),
        st.integers(0, 12),
        st.integers(0, 12),
    ),
    min_size=4,
    max_size=30,
)


class Run:
    """Plays steps on both, and compares after each."""

    def __init__(self, shard: Shard, model: Model) -> None:
        self.model = model
        self.books = Books()
        self.books.grant("gra_1", GRANT, NOW - timedelta(days=1), NOW + timedelta(days=1))
        self.shard = Shard(shard.redis, self.books)
        self.account = new_account_id()
        self.holds: list[Hold] = []
        self.settled: list[tuple[Hold, Usage, Decimal]] = []
        self.month = ""

    async def play(self, step: Step) -> None:
        what, which, prompt, output = step
        if what == "admit":
            await self.admit(f"key_{which % 2}", prompt, output)
        elif what == "again" and self.settled:
            hold, usage, cost_usd = self.settled[which % len(self.settled)]
            assert (await self.shard.settle(hold, usage)).cost_usd == cost_usd
            await self.shard.admission.give_back(hold)
        elif what == "drain":
            await self.drain(which)
        elif self.holds and what == "settle":
            hold = self.holds.pop(which % len(self.holds))
            usage = Usage(min(prompt, hold.call.prompt_tokens_max), 0, min(output, hold.call.output_tokens_max))
            nano = self.model.charge(hold.call, usage)
            settlement = await self.shard.settle(hold, usage)
            assert settlement.cost_usd * 10**9 == nano
            self.settled.append((hold, usage, settlement.cost_usd))
        elif self.holds and what == "give back":
            hold = self.holds.pop(which % len(self.holds))
            del self.model.held[hold.call]
            await self.shard.admission.give_back(hold)

    async def admit(self, key: str, prompt: int, output: int) -> None:
        limits = [RateLimit(f"a:{self.account}", concurrency=self.model.concurrency)]
        caller = a_caller(
            self.account, key_id=key, cap_nano=self.model.cap, key_cap_nano=self.model.key_caps[key], limits=limits
        )
        call = a_call(caller, prompt_max=prompt, output_max=output)
        self.month = str(call.month)
        amount = prompt * INPUT_NANO + output * OUTPUT_NANO
        try:
            hold = await self.shard.admit(call)
            said = "ok"
        except RateLimited:
            said = "concurrency"
        except (BudgetExceeded, InsufficientQuota):
            said = "money"
        assert said == self.model.verdict(key, amount)
        if said == "ok":
            assert hold.amount_nano_usd == amount
            self.model.held[call] = amount
            self.holds.append(hold)

    async def drain(self, count: int) -> None:
        """What the drain does, the ledger being `books`."""
        records = (await self.shard.records())[:count]
        scopes: dict[str, tuple[int, int]] = {}
        self.model.drained += len(records)
        for at, (key, nano) in enumerate(self.model.charged):
            if at < self.model.drained:
                for scope in (f"m:{self.month}", f"k:{key}:{self.month}"):
                    cost, entries = scopes.get(scope, (0, 0))
                    scopes[scope] = (cost + nano, entries + 1)
                before = self.books.totals.get((self.month, key), RunningTotal())
                if at >= self.model.drained - len(records):
                    total = RunningTotal(before.cost + Decimal(nano) / 10**9, before.entries + 1)
                    self.books.totals[self.month, key] = total
        totals = [(self.account, scope, cost, entries) for scope, (cost, entries) in scopes.items()]
        await self.shard.ask("D", [record.done() for record in records], totals)

    async def compare(self) -> None:
        if not self.month:
            return
        scopes = [f"m:{self.month}", "k:key_0:" + self.month, "k:key_1:" + self.month]
        rows, grants = await self.shard.admission.in_hand(self.account, scopes)
        caps = [self.model.cap, self.model.key_caps["key_0"], self.model.key_caps["key_1"]]
        for row, key, cap in zip(rows, (None, "key_0", "key_1"), caps, strict=True):
            assert min(row) >= 0
            assert sum(row) == self.model.taken(key) <= cap
            assert row[2] == sum(n for call, n in self.model.held.items() if key in (None, call.caller.key_id))
            undrained = self.model.charged[self.model.drained :]
            assert row[1] == sum(nano for of, nano in undrained if key in (None, of))
        if self.model.held or self.model.charged:
            assert [grant[3] for grant in grants] == [self.model.grant]
        running = await self.shard.redis.hget(f"{{s0}}:a:{self.account}", f"i:a:{self.account}")
        assert int(running or 0) == len(self.model.held)
        assert await self.shard.redis.zcard("{s0}:holds") == len(self.model.held)
        assert len(await self.shard.records()) == len(self.model.charged) - self.model.drained


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 60_000), st.integers(0, 40_000), st.integers(0, 40_000), st.integers(1, 6), steps)
async def test_the_script_and_the_model_never_disagree(
    shard: Shard, cap: int, first_key_cap: int, second_key_cap: int, concurrency: int, played: list[Step]
) -> None:
    await shard.redis.flushall()
    run = Run(shard, Model(cap, {"key_0": first_key_cap, "key_1": second_key_cap}, concurrency))
    for step in played:
        await run.play(step)
        await run.compare()
