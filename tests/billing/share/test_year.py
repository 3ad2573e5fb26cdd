"""A simulated year, month by month on a real Postgres, and reckoned a second time in fractions from what happened.

Rules, rates and minimums change with the plans; text is given, corrected and withdrawn; models get manifests; invoices in two
currencies are credited afterwards; small amounts carry over. The second calculation takes only the calls and what was posted.
"""

from __future__ import annotations

import random
from collections import defaultdict
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from math import trunc
from types import SimpleNamespace

import pytest

import billing.ids
from billing.club.store import accept, set_manifest
from billing.database import Sessions
from billing.invoice.credit import Asked
from billing.invoice.issue import credit
from billing.invoice.read import invoices_of
from billing.periods import Month
from billing.share.payout import Statement
from billing.share.read import share_month
from tests.billing import recount
from tests.billing.months import ACTOR, account, book, call, close, contribute, krw_rate, plan
from tests.billing.share import reckoned

MODELS = {"solar-pro4": ("3", "0.6", "12", "0", "0"), "solar-mini": ("1.23", "0.12", "7", "0", "0")}
RULES = ("pro_rata", "user_centric", "capped_pro_rata", "scaled_user_prop")
PICO = Fraction(1, 10**12)
CAP = "0.75"
FIRST = Month(2026, 1)


@dataclass
class Shared:
    """A month as the second calculation has it."""

    paid: list[reckoned.Paid]
    givers: list[reckoned.Giver]
    rule: str
    rate: Fraction
    credited: dict[tuple[str, str], Fraction] = field(default_factory=lambda: defaultdict(Fraction))

    def reckon(self, trained_on: dict[str, set[str]], back: dict[str | None, Fraction]) -> reckoned.Month:
        cap = Fraction(CAP) if self.rule == "capped_pro_rata" else None
        paid = [
            reckoned.Paid(e.payer, e.group, e.model, e.net - self.credited[e.payer, e.model], e.usage)
            for e in self.paid
        ]
        return reckoned.month(paid, self.givers, trained_on, self.rule, self.rate, cap, back)


@dataclass
class Year:
    """What happened so far."""

    rng: random.Random
    groups: dict[str, str]
    currencies: dict[str, str]
    text: dict[str, tuple[str, str, Fraction]] = field(default_factory=dict)
    """Contribution → (account, dataset, weight)."""
    trained_on: dict[str, set[str]] = field(default_factory=dict)
    months: dict[str, Shared] = field(default_factory=dict)
    trained_then: dict[str, dict[str, set[str]]] = field(default_factory=dict)
    carried: dict[str, Fraction] = field(default_factory=dict)
    pending: list[tuple[str, str, str, Fraction]] = field(default_factory=list)
    """Credits that no month has made good: (month, account, model, USD)."""


async def begun(sessions: Sessions, rng: random.Random) -> Year:
    groups, currencies = {}, {}
    for _ in range(6):
        group, currency = rng.choice(["group_a", "group_b", None]), rng.choice(["USD", "KRW"])
        name = await account(sessions, owner_group=group, currency=currency, tax_country=rng.choice([None, "KR"]))
        groups[name], currencies[name] = group or name, currency
    return Year(rng, groups, currencies)


async def lived_through(sessions: Sessions, year: Year, month: Month) -> tuple[str, str, Fraction]:
    """A month's plan, text and calls; returns the plan's rule, rate and minimum."""
    rng, middle = year.rng, datetime(month.year, month.number, 15, 3, tzinfo=UTC)
    rule, rate, minimum = (
        rng.choice(RULES),
        rng.choice(["0.20", "0.3333", "0.60"]),
        rng.choice(["0.00", "0.50", "5.00"]),
    )
    more = {"payer_cap": CAP} if rule == "capped_pro_rata" else {}
    await plan(sessions, rate, minimum, str(month), at=middle, rule=rule, **more)
    for name in rng.sample(sorted(year.groups), 2):
        tokens, quality = rng.randrange(1, 10**6), rng.choice(["1.0", "0.5", "1.25"])
        dataset = rng.choice(["news", "law", "novels"])
        gift = await contribute(sessions, name, tokens, quality=quality, dataset=dataset, accepted_at=middle)
        year.text[gift] = (name, dataset, tokens * Fraction(quality))
    async with sessions.begin() as session:
        if month.number % 3 == 0:
            gift, (name, dataset, _) = rng.choice(sorted(year.text.items()))
            del year.text[gift]
            values = {"withdraws": gift} if rng.random() < 0.5 else {"corrects": gift, "tokens": 777, "quality": "0.1"}
            row, _ = await accept(session, name, {**values, "accepted_at": middle}, 12, ACTOR, middle)
            if "corrects" in values:
                year.text[row.id] = (name, dataset, Fraction("77.7"))
        if month.number in (4, 8):
            datasets = set(rng.sample(["news", "law", "novels"], 2))
            await set_manifest(session, "solar-pro4", sorted(datasets), ACTOR, middle)
            year.trained_on = {**year.trained_on, "solar-pro4": datasets}
    await krw_rate(sessions, month.last_day(), f"13{month.number:02d}.25")
    await called(sessions, year, month, middle)
    shared = year.months[str(month)]
    shared.rule, shared.rate = rule, Fraction(rate)
    return rule, rate, Fraction(minimum)


async def called(sessions: Sessions, year: Year, month: Month, at: datetime) -> None:
    rng, plain, settled = year.rng, [], []
    for name in year.groups:
        for _ in range(rng.randrange(3)):
            model = rng.choice(sorted(MODELS))
            counts = (rng.randrange(10**6), rng.randrange(10**5), rng.randrange(10**6), 0, 0)
            granted = rng.choice([0, 0, counts[2]])
            discount = rng.choice(["0", "0.10", "0.40"])
            grants = (("gra_1", "output", granted),) if granted else ()
            settled.append(
                call(name, counts, at=at, model=model, discount=discount, prices=MODELS[model], grants=grants)
            )
            plain.append(recount.PlainCall(name, model, counts, (0, 0, granted), MODELS[model], discount))
    await book(sessions, *settled, at=at)
    usage: dict[tuple[str, str], Fraction] = defaultdict(Fraction)
    for each in plain:
        whole = recount.PlainCall(each.account_id, each.model, each.counts, (0, 0, 0), each.prices, "0")
        usage[each.account_id, each.model] += recount.bills([whole])[each.account_id].by_model[each.model]
    paid = [
        reckoned.Paid(name, year.groups[name], model, net, usage[name, model])
        for name, bill in recount.bills(plain).items()
        for model, net in bill.by_model.items()
    ]
    year.months[str(month)] = Shared(paid, [], "", Fraction(0))


def expected(year: Year, month: Month, minimum: Fraction) -> tuple[dict[str, tuple[Fraction, ...]], Fraction]:
    """account → (amount, carried in, payout, carried over); and what the house keeps."""
    shared = year.months[str(month)]
    givers: dict[str, dict[str, Fraction]] = defaultdict(lambda: defaultdict(Fraction))
    for name, dataset, weight in year.text.values():
        givers[name][dataset] += weight
    shared.givers = [reckoned.Giver(name, year.groups[name], weights) for name, weights in givers.items()]
    year.trained_then[str(month)] = dict(year.trained_on)
    back: dict[str | None, Fraction] = defaultdict(Fraction)
    touched: set[str | None] = {None}
    for of in sorted({of for of, *_ in year.pending}):
        earlier = year.months[of]
        before = earlier.reckon(year.trained_then[of], {})
        for _, name, model, usd in (each for each in year.pending if each[0] == of):
            earlier.credited[name, model] += usd
        after = earlier.reckon(year.trained_then[of], {})
        for name in before.exact:
            back[name] += after.exact[name] - before.exact[name]
            touched |= {
                name for pool, parts in before.divided.items() if parts.get(name) != after.divided[pool].get(name)
            }
        back[None] += sum(after.pools.values()) - sum(before.pools.values())
        back[None] -= sum(after.exact.values()) - sum(before.exact.values())
    year.pending = []
    # Whoever's parts moved has a statement that shows how, even where all of it comes to nothing.
    result = shared.reckon(year.trained_on, {name: amount for name, amount in back.items() if name in touched})
    money: dict[str, tuple[Fraction, ...]] = {}
    for name in {*result.cents, *(n for n, amount in year.carried.items() if amount)}:
        amount, carried = Fraction(result.cents.get(name, 0), 100), year.carried.get(name, Fraction(0))
        due = amount + carried
        paid_out = due if due >= max(minimum, Fraction(0)) else Fraction(0)
        year.carried[name] = due - paid_out
        money[name] = (amount, carried, paid_out, due - paid_out)
    return money, result.house


async def credited(sessions: Sessions, year: Year, month: Month, at: datetime) -> None:
    """Now and then a part of a line of an invoice of any month so far is given back, once a line."""
    of = year.rng.choice(sorted(year.months))
    async with sessions.begin() as session:
        issued = [each for each in await invoices_of(session, of) if not each.credits]
        for each in issued[:1]:
            line = max(each.lines, key=lambda line: line.amount)
            unit = 1 if each.invoice.currency == "KRW" else 100
            amount = Fraction(year.rng.randint(1, int(line.amount * unit)), unit)
            asked = [Asked(line.position, Decimal(amount.numerator) / amount.denominator)]
            await credit(session, each.invoice.id, "a complaint", asked, ACTOR, at)
            exact = Fraction(line.exact_usd)
            whole = amount == Fraction(line.amount)
            usd = exact if whole else trunc(exact * amount / Fraction(line.amount) / PICO) * PICO
            year.pending.append((of, each.invoice.account_id, line.model, usd))


@pytest.mark.parametrize("seed", [1, 2])
async def test_a_year_of_shares_equals_its_recount_in_fractions(
    sessions: Sessions, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Ids decide ties, and the order in which the test draws: they come from the seed too.
    monkeypatch.setattr(billing.ids, "os", SimpleNamespace(urandom=random.Random(seed).randbytes))
    year = await begun(sessions, random.Random(seed))
    month, corrections, paid_out = FIRST, 0, Fraction(0)
    for _ in range(12):
        _, _, minimum = await lived_through(sessions, year, month)
        closing = datetime(month.next().year, month.next().number, 2, tzinfo=UTC)
        shares = (await close(sessions, month, closing)).shares
        money, house = expected(year, month, minimum)
        assert {share.account_id: _money(share) for share in shares} == money, str(month)
        # Shown to 18 places where a rule or a credit note left no decimal.
        assert 0 <= house - await house_of(sessions, month) < Fraction(1, 10**18)
        corrections += sum(step["kind"] == "correction" for share in shares for step in share.steps)
        paid_out += sum((Fraction(share.payout) for share in shares), Fraction(0))
        await credited(sessions, year, month, closing + timedelta(days=1))
        month = month.next()
    print(f"\nseed {seed}: 12 months, {paid_out} USD paid out, {corrections} corrections on statements, to the cent")
    assert corrections
    assert paid_out


async def house_of(sessions: Sessions, month: Month) -> Fraction:
    async with sessions() as session:
        row = await share_month(session, str(month))
    assert row is not None
    return Fraction(row.house)


def _money(share: Statement) -> tuple[Fraction, ...]:
    return tuple(Fraction(each) for each in (share.amount, share.carried_in, share.payout, share.carried_over))
