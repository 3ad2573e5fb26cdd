"""Corrected and withdrawn contributions, and the grants' own ledger, on a real Postgres."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from billing.accounts import store as accounts
from billing.club import store as club
from billing.club.store import ContributionNotFound, ContributionUndone, GrantBook, grant_book
from billing.database import Sessions
from billing.share.pool import in_force, partners_of
from billing.terms import load_counters, load_terms
from tests.billing.months import ACTOR, MID_OCTOBER, OCTOBER, account, book, call, contribute
from tests.billing.test_close import rows_count

LATER = MID_OCTOBER + timedelta(days=5)


async def entry(sessions: Sessions, account_id: str, now: datetime = LATER, **values: Any) -> Any:
    async with sessions.begin() as session:
        return await club.accept(session, account_id, values, 12, ACTOR, now)


async def books(sessions: Sessions, account_id: str, now: datetime = LATER) -> list[GrantBook]:
    async with sessions() as session:
        return await grant_book(session, account_id, now)


def numbers(book: GrantBook) -> tuple[int, int, int, int, int]:
    assert book.grant.tokens == book.used + book.expired + book.ended + book.left
    return book.grant.tokens, book.used, book.expired, book.ended, book.left


async def spend(sessions: Sessions, account_id: str, grant_id: str, tokens: int) -> None:
    await book(sessions, call(account_id, (0, 0, tokens, 0, 0), grants=((grant_id, "output", tokens),)))


async def test_a_withdrawal_ends_the_unspent_part_of_its_grant_and_the_tier(sessions: Sessions) -> None:
    partner = await account(sessions, kind="club")
    contribution = await contribute(sessions, partner, 150_000_000)
    (granted,) = await books(sessions, partner)
    await spend(sessions, partner, granted.grant.id, 1_000)
    async with sessions() as session:
        before = await accounts.get(session, partner)
    row, grant = await entry(sessions, partner, withdraws=contribution, note="rights unclear")
    assert (row.tokens, row.words, grant) == (0, 0, None)
    (ended,) = await books(sessions, partner)
    assert numbers(ended) == (150_000_000, 1_000, 0, 149_999_000, 0)
    assert numbers((await books(sessions, partner, MID_OCTOBER))[0]) == (150_000_000, 1_000, 0, 0, 149_999_000)
    async with sessions() as session:
        after = await accounts.get(session, partner)
        terms = await load_terms(session, after, LATER)
    async with sessions() as session:
        counters = await load_counters(session, partner)
    assert counters is not None
    assert [(each.since, each.tier.name) for each in terms.tiers] == [(MID_OCTOBER, "100M"), (LATER, "none")]
    assert after.epoch == before.epoch + 1
    assert counters.grants[0].until_at == LATER


async def test_a_correction_grants_its_tokens_less_those_spent_until_the_first_expiry(sessions: Sessions) -> None:
    partner = await account(sessions)
    contribution = await contribute(sessions, partner, 1_000)
    (granted,) = await books(sessions, partner)
    await spend(sessions, partner, granted.grant.id, 300)
    row, grant = await entry(sessions, partner, corrects=contribution, tokens=800)
    assert (row.dataset, row.words, row.tokens) == ("news", 1_000, 800)
    assert (grant.tokens, grant.from_at, grant.until_at) == (500, LATER, granted.grant.until_at)
    await spend(sessions, partner, grant.id, 50)
    again, regrant = await entry(sessions, partner, corrects=row.id, tokens=2_000)
    assert (again.corrects, regrant.tokens) == (row.id, 1_650)
    assert [numbers(one) for one in await books(sessions, partner)] == [
        (1_000, 300, 0, 700, 0),
        (500, 50, 0, 450, 0),
        (1_650, 0, 0, 0, 1_650),
    ]


async def test_a_correction_below_what_was_spent_grants_nothing_and_takes_nothing_back(sessions: Sessions) -> None:
    partner = await account(sessions)
    contribution = await contribute(sessions, partner, 1_000)
    (granted,) = await books(sessions, partner)
    await spend(sessions, partner, granted.grant.id, 900)
    _, grant = await entry(sessions, partner, corrects=contribution, tokens=500)
    assert grant is None
    assert [numbers(one) for one in await books(sessions, partner)] == [(1_000, 900, 0, 100, 0)]


async def test_what_a_call_in_flight_took_of_the_old_grant_comes_off_the_corrections_grant(sessions: Sessions) -> None:
    """Accepted before the correction, settled after it: entitled to the old grant, but the tokens are not given twice."""
    partner = await account(sessions)
    contribution = await contribute(sessions, partner, 1_000)
    (granted,) = await books(sessions, partner)
    await spend(sessions, partner, granted.grant.id, 300)
    _, grant = await entry(sessions, partner, corrects=contribution, tokens=800)
    await spend(sessions, partner, granted.grant.id, 200)
    assert [numbers(one) for one in await books(sessions, partner)] == [(1_000, 500, 0, 500, 0), (500, 0, 0, 200, 300)]
    async with sessions() as session:
        counters = await load_counters(session, partner)
    assert counters is not None
    assert {left.id: left.tokens_left for left in counters.grants}[grant.id] == 300
    await spend(sessions, partner, grant.id, 300)
    await spend(sessions, partner, granted.grant.id, 100)
    assert [numbers(one)[1:] for one in await books(sessions, partner)] == [(600, 0, 400, 0), (300, 0, 200, 0)]
    again, regrant = await entry(sessions, partner, corrects=(await latest(sessions, partner)), tokens=1_000)
    assert (again.tokens, regrant.tokens) == (1_000, 100)


async def latest(sessions: Sessions, account_id: str) -> str:
    async with sessions() as session:
        return (await club.contributions_of(session, account_id))[-1].id


async def test_what_is_not_spent_by_its_expiry_is_expired(sessions: Sessions) -> None:
    partner = await account(sessions)
    await contribute(sessions, partner, 1_000)
    (granted,) = await books(sessions, partner)
    await spend(sessions, partner, granted.grant.id, 400)
    day = granted.grant.until_at
    assert day == datetime(2027, 10, 15, 3, 0, tzinfo=UTC)
    assert numbers((await books(sessions, partner, day - timedelta(microseconds=1)))[0]) == (1_000, 400, 0, 0, 600)
    assert numbers((await books(sessions, partner, day))[0]) == (1_000, 400, 600, 0, 0)


async def test_the_revenue_share_weighs_what_stands_at_the_end_of_the_month(sessions: Sessions) -> None:
    partner = await account(sessions)
    first, second = [await contribute(sessions, partner, tokens) for tokens in (1_000, 500)]
    await entry(sessions, partner, corrects=first, tokens=700, quality=Decimal("0.5"))
    await entry(sessions, partner, withdraws=second, accepted_at=datetime(2026, 11, 1, tzinfo=UTC))
    async with sessions() as session:
        rows = await club.contributions_of(session)
        named = {partner: await accounts.get(session, partner)}
    assert sorted(row.tokens for row in in_force(rows, named, OCTOBER)) == [500, 700]
    (weighed,) = partners_of(rows, named, OCTOBER)
    assert sorted(weight for _, weight in weighed.given) == [350, 500]
    assert [row.tokens for row in in_force(rows, named, OCTOBER.next())] == [700]


async def test_of_many_that_undo_the_same_entry_at_once_one_does(sessions: Sessions) -> None:
    partner = await account(sessions)
    contribution = await contribute(sessions, partner, 1_000)
    ended = await asyncio.gather(
        *(entry(sessions, partner, withdraws=contribution) for _ in range(8)), return_exceptions=True
    )
    assert sum(isinstance(one, ContributionUndone) for one in ended) == 7
    assert [numbers(one) for one in await books(sessions, partner)] == [(1_000, 0, 0, 1_000, 0)]


@pytest.mark.parametrize(
    ("values", "error", "says"),
    [
        ({"withdraws": "con_none"}, ContributionNotFound, "con_none"),
        ({"withdraws": "THIS", "corrects": "THIS"}, ValueError, "either corrects or withdraws"),
        ({"withdraws": "THIS", "tokens": 5}, ValueError, "tokens: a withdrawal has none"),
        ({"corrects": "THIS", "tokens": -5}, ValueError, "tokens: cannot be negative"),
        ({"corrects": "THIS", "accepted_at": MID_OCTOBER - timedelta(days=1)}, ValueError, "accepted_at"),
        ({"dataset": "news", "words": 5}, ValueError, "tokens: is needed"),
        ({"words": 5, "tokens": 5}, ValueError, "dataset: is needed"),
    ],
)
async def test_an_entry_that_cannot_be_is_refused_and_leaves_nothing(
    sessions: Sessions, values: dict[str, Any], error: type[Exception], says: str
) -> None:
    partner = await account(sessions)
    contribution = await contribute(sessions, partner, 1_000)
    before = await rows_count(sessions)
    with pytest.raises(error, match=says):
        await entry(sessions, partner, LATER, **{k: contribution if v == "THIS" else v for k, v in values.items()})
    assert await rows_count(sessions) == before
    with pytest.raises(ContributionNotFound):
        await entry(sessions, await account(sessions), withdraws=contribution)
