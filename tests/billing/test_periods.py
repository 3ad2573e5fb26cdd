"""Months in zones."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.periods import Month

ZONES = [
    "Asia/Seoul",
    "UTC",
    "America/New_York",
    "Europe/Berlin",
    "Australia/Lord_Howe",
    "Pacific/Kiritimati",
    "Asia/Kathmandu",
]
months = st.builds(Month, st.integers(2000, 2100), st.integers(1, 12))
instants = st.integers(0, 4 * 10**9).map(lambda s: datetime.fromtimestamp(s, UTC))


@given(instants, st.sampled_from(ZONES))
def test_each_instant_lies_within_the_bounds_of_its_month_and_of_no_other(instant: datetime, zone: str) -> None:
    month = Month.of(instant, zone)
    start, end = month.bounds(zone)
    assert start <= instant < end
    assert month.next().bounds(zone)[0].astimezone(UTC) == end.astimezone(UTC)


@given(months, st.sampled_from(ZONES))
def test_a_month_ends_where_the_next_begins(month: Month, zone: str) -> None:
    start, end = (bound.astimezone(UTC) for bound in month.bounds(zone))
    assert Month.of(start, zone) == month
    assert Month.of(end, zone) == month.next()
    assert Month.of(end - timedelta(microseconds=1), zone) == month


@given(months)
def test_a_month_reads_back_as_it_is_written_and_sorts_as_its_text(month: Month) -> None:
    assert Month.parse(str(month)) == month
    assert str(month) < str(month.next())
    assert month < month.next()
    assert month.last_day() + timedelta(days=1) == month.next().first_day()


def test_a_month_in_seoul_begins_nine_hours_before_that_of_utc() -> None:
    start, end = Month(2026, 10).bounds("Asia/Seoul")
    assert start.astimezone(UTC) == datetime(2026, 9, 30, 15, tzinfo=UTC)
    assert end.astimezone(UTC) == datetime(2026, 10, 31, 15, tzinfo=UTC)
    assert str(Month.of(datetime(2026, 10, 31, 14, 59, 59, tzinfo=UTC), "Asia/Seoul")) == "2026-10"


def test_a_month_with_a_clock_change_is_an_hour_longer() -> None:
    start, end = (bound.astimezone(UTC) for bound in Month(2026, 11).bounds("America/New_York"))
    assert end - start == timedelta(days=30, hours=1)


def test_the_last_day_of_february_knows_leap_years() -> None:
    assert [Month(year, 2).last_day() for year in (2026, 2028)] == [date(2026, 2, 28), date(2028, 2, 29)]


@pytest.mark.parametrize("text", ["2026-13", "2026-00", "2026-1", "202610", "2026-10-01", ""])
def test_what_is_no_month_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a month"):
        Month.parse(text)
