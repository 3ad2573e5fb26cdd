"""Rate cards that overlap are refused, on a real Postgres."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from billing.database import Sessions
from billing.ledger.read import calls_since
from billing.rate_cards import RateCardOverlaps, add_card, all_cards, from_wire_models
from tests.billing.months import MID_NOVEMBER, MID_OCTOBER, account

PRO = {"solar-pro4": {"aliases": ["solar-pro4-260806"], "input": "0.30", "output": "1.20"}}
MINI = {"solar-mini": {"input": "0.10", "output": "0.40"}}


async def post(
    sessions: Sessions, models: Mapping[str, Any], at: datetime = MID_NOVEMBER, account_id: str | None = None
) -> str:
    values = {"effective_at": at, "models": models, "account_id": account_id}
    async with sessions.begin() as session:
        return (await add_card(session, values, calls_since, MID_OCTOBER)).id


async def test_two_cards_that_price_one_model_from_one_instant_on_overlap_whatever_they_call_it(
    sessions: Sessions,
) -> None:
    standing = await post(sessions, PRO)
    with pytest.raises(RateCardOverlaps, match=standing):
        await post(sessions, {"solar-pro4-260806": {"input": "1", "output": "1"}})
    async with sessions() as session:
        assert [card.id for card in await all_cards(session)] == [standing]


async def test_another_model_another_instant_and_another_account_do_not_overlap(sessions: Sessions) -> None:
    partner = await account(sessions)
    await post(sessions, PRO)
    await post(sessions, MINI)
    await post(sessions, PRO, MID_NOVEMBER + timedelta(microseconds=1))
    await post(sessions, PRO, account_id=partner)
    with pytest.raises(RateCardOverlaps):
        await post(sessions, PRO, account_id=partner)


async def test_of_many_that_overlap_and_are_posted_at_once_one_stands(sessions: Sessions) -> None:
    posted = await asyncio.gather(*(post(sessions, PRO) for _ in range(8)), return_exceptions=True)
    assert sorted(type(each).__name__ for each in posted) == ["RateCardOverlaps"] * 7 + ["str"]


async def test_the_list_prices_of_a_sandbox_may_be_stated_anew(sessions: Sessions) -> None:
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    first, second = [await post(sessions, PRO, epoch) for _ in range(2)]
    async with sessions() as session:
        assert [card.id for card in await all_cards(session)] == sorted([first, second], reverse=True)


@pytest.mark.parametrize(
    "models",
    [
        {**PRO, "other": {"aliases": ["solar-pro4"], "input": "1", "output": "1"}},
        {**PRO, "other": {"aliases": ["solar-pro4-260806"], "input": "1", "output": "1"}},
        {"self": {"aliases": ["self"], "input": "1", "output": "1"}},
    ],
)
def test_a_card_that_prices_one_name_twice_is_refused(models: Mapping[str, Any]) -> None:
    with pytest.raises(ValueError, match="is priced twice on this card"):
        from_wire_models(models)
