"""A month under review, on a real Postgres: who feeds whom, and who seems to belong together."""

from __future__ import annotations

from fractions import Fraction

from billing.database import Sessions
from billing.payouts.review import review
from billing.payouts.store import set_payee
from tests.billing.months import ACTOR, CLOSING, account, book, call, close, contribute, plan
from tests.billing.payouts.test_store import COMPANY


async def test_two_partners_that_feed_one_another_under_one_tax_number_are_found(sessions: Sessions) -> None:
    left, right = (
        await account(sessions),
        await account(sessions, tax_country="KR", tax_registration_number="1208147521"),
    )
    for partner in (left, right):
        await contribute(sessions, partner, 1_000)
    await plan(sessions, "0.50")
    same = [call(name, (100_000 + n, 0, 20_000_000, 0, 0)) for n in range(25) for name in (left, right)]
    await book(sessions, *same)
    await close(sessions)
    async with sessions.begin() as session:
        await set_payee(session, left, COMPANY, ACTOR, CLOSING)
        found = await review(session, "2026-10")
    assert {each.owner_group for each in found.fed} == {left, right}
    for each in found.fed:
        assert each.flags == ("few_payers", "one_payer", "concentrated", "reciprocal", "related")
        assert each.concentration == each.reciprocal == Fraction(1)
        assert (
            each.usd == Fraction(25 * 20 * 12, 10) / 2 + sum(Fraction(100_000 + n) * 3 / 10**7 for n in range(25)) / 2
        )
    assert {(each.why, each.account_ids) for each in found.suggestions} == {
        ("tax_number", tuple(sorted((left, right)))),
        ("same_calls", tuple(sorted((left, right)))),
    }


async def test_a_month_that_is_not_shared_out_has_nothing_to_review_but_the_accounts(sessions: Sessions) -> None:
    await account(sessions)
    async with sessions() as session:
        found = await review(session, "2026-10")
    assert (found.fed, found.suggestions) == ([], [])
