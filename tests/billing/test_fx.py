"""Exchange rates from a file: all or none."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

import pytest

from billing.database import Sessions
from billing.fx import Quote, RateDiffers, WrongRates, all_rates, from_wire_rates, import_rates
from tests.billing.months import krw_rate

HEAD = "date,pair,rate\n"
FILE = HEAD + "2026-10-30,USD/KRW,1385.5\r\n2026-10-31,USD/KRW,1386.25\n"


async def known(sessions: Sessions) -> dict[date, Decimal]:
    async with sessions() as session:
        return {row.day: row.rate for row in await all_rates(session)}


async def bring_in(sessions: Sessions, text: str) -> int:
    async with sessions.begin() as session:
        return await import_rates(session, from_wire_rates(text))


async def test_a_file_of_rates_is_stated_and_may_be_repeated(sessions: Sessions) -> None:
    assert await bring_in(sessions, FILE) == 2
    assert await bring_in(sessions, "\ufeff" + FILE) == 0
    assert await known(sessions) == {date(2026, 10, 30): Decimal("1385.5"), date(2026, 10, 31): Decimal("1386.25")}


async def test_one_rate_that_differs_from_a_known_one_leaves_all_out(sessions: Sessions) -> None:
    await krw_rate(sessions, date(2026, 10, 31), "1400")
    with pytest.raises(RateDiffers, match=r"2026-10-31 is 1400 already, not 1386\.25"):
        await bring_in(sessions, FILE)
    assert await known(sessions) == {date(2026, 10, 31): Decimal(1400)}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "line 1: the first line must be date,pair,rate"),
        ("day,rate\n2026-10-31,1\n", "line 1: the first line"),
        (HEAD, "line 2: there is no rate"),
        (HEAD + "2026-10-31,USD/KRW\n", "line 2: needs 3 cells"),
        (HEAD + "2026-10-31,USD/KRW,1,385.5\n", "line 2: needs 3 cells"),
        (HEAD + "2026-10-30,USD/KRW,1\n31.10.2026,USD/KRW,1\n", "line 3: date: '31.10.2026'"),
        (HEAD + "2026-02-30,USD/KRW,1\n", "line 2: date"),
        (HEAD + "2026-10-31,EUR/KRW,1\n", "line 2: pair: 'EUR/KRW'"),
        (HEAD + "2026-10-31,USD/KRW,0\n", "line 2: rate: '0'"),
        (HEAD + "2026-10-31,USD/KRW,-1\n", "line 2: rate"),
        (HEAD + "2026-10-31,USD/KRW,NaN\n", "line 2: rate"),
        (HEAD + "2026-10-31,USD/KRW,=1+1\n", "line 2: rate"),
        (HEAD + "2026-10-31,USD/KRW,1\n2026-10-31,USD/KRW,2\n", "line 3: a second rate"),
        (HEAD + "0001-10-31,USD/KRW,1\n", "line 2: date: must lie"),
        (HEAD + '2026-10-31,"USD/KRW,1\n', "line 2: needs"),
    ],
)
def test_a_file_that_is_wrong_says_where_and_why(text: str, says: str) -> None:
    with pytest.raises(WrongRates, match=says.replace("+", r"\+")):
        from_wire_rates(text)


def test_a_row_keeps_every_digit_of_its_rate() -> None:
    [quote] = from_wire_rates(HEAD + "2026-10-31, USD/KRW ,1387.654321000001\n")
    assert quote == Quote(date(2026, 10, 31), "USD/KRW", Decimal("1387.654321000001"))
