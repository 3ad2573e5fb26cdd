"""A key's quota, on a clock of the test: what a 429 closes, how it opens again, what headers are believed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.fleet.quota import CLOSED_MAX_S, Quota, Shown, from_wire_limits
from gateway.fleet.window import SLOTS, Window


@given(st.lists(st.tuples(st.floats(0, 30), st.integers(0, 100)), max_size=60))
def test_a_window_is_never_above_the_truth_by_more_than_a_slot_nor_below_it(steps: list[tuple[float, int]]) -> None:
    window, now_s, sent = Window(60.0), 0.0, list[tuple[float, int]]()
    for pause_s, amount in steps:
        now_s += pause_s
        window.add(now_s, amount)
        sent.append((now_s, amount))
        exact = sum(each for at_s, each in sent if at_s > now_s - 60.0)
        with_a_slot = sum(each for at_s, each in sent if at_s > now_s - 60.0 - 2 * 60.0 / SLOTS)
        assert exact <= window.count(now_s) <= with_a_slot


def test_a_lone_429_says_nothing_of_other_calls_and_a_second_one_closes_the_door() -> None:
    quota = Quota()
    quota.sent(0.0, 10)
    quota.refused(0.0, 10, 30.0)
    assert quota.may_send(0.1)
    quota.sent(0.1, 10)
    quota.refused(0.1, 10, 30.0)
    assert not quota.may_send(29.9)
    assert quota.opens_at(1.0) == 30.1
    assert quota.may_send(30.2)


def test_an_answer_in_between_makes_the_next_429_a_lone_one_again() -> None:
    quota = Quota()
    for _ in range(5):
        quota.sent(0.0, 1)
        quota.refused(0.0, 1, 30.0)
        quota.sent(0.0, 1)
        quota.served(quota.epoch)
    assert quota.may_send(0.1)


def closed() -> Quota:
    quota = Quota()
    for _ in range(2):
        quota.sent(0.0, 1)
        quota.refused(0.0, 1, 10.0)
    return quota


def test_it_opens_as_a_connection_starts_and_closes_again_at_one_429() -> None:
    quota = closed()
    sent = 0
    while quota.may_send(11.0):
        quota.sent(11.0, 1)
        sent += 1
    assert sent == 8
    epoch = quota.epoch
    for _ in range(8):
        quota.served(epoch)
    while quota.may_send(11.1):
        quota.sent(11.1, 1)
        sent += 1
    assert sent == 8 + 16
    quota.refused(11.1, 1, 20.0)
    assert not quota.may_send(12.0)
    assert quota.may_send(11.1 + 20.0 + 0.1) is False, "those under way still count"
    for _ in range(15):
        quota.ended()
    assert quota.may_send(31.2)


def test_an_answer_to_a_call_of_before_does_not_open_it_and_one_of_after_does() -> None:
    quota = Quota()
    before = quota.epoch
    quota.sent(0.0, 1)
    for _ in range(2):
        quota.sent(0.0, 1)
        quota.refused(0.0, 1, 60.0)
    quota.served(before)
    assert not quota.may_send(1.0)
    quota.probing(1.0)
    quota.sent(1.0, 1)
    quota.served(quota.epoch)
    assert quota.may_send(1.1), "upstream's word was wrong"


def test_two_whole_windows_without_a_429_and_it_stands_open() -> None:
    quota = closed()
    quota.sent(11.0, 1)
    quota.served(quota.epoch)
    assert quota.gated
    assert quota.may_send(119.9)
    assert quota.gated
    assert quota.may_send(120.1)
    assert not quota.gated


def test_who_asks_whether_it_is_true_asks_ever_more_rarely() -> None:
    quota, asked, now_s = closed(), list[float](), 0.0
    while now_s < 60:
        if now_s >= quota.probe_from_s:
            quota.probing(now_s)
            asked.append(now_s)
        now_s += 0.25
    assert asked == [0.0, 1.0, 3.0, 7.0, 15.0, 31.0]


def test_no_word_of_upstream_closes_it_for_longer_than_the_bound() -> None:
    quota = Quota()
    for _ in range(2):
        quota.sent(0.0, 1)
        quota.refused(0.0, 1, 10**9)
    assert quota.opens_at(0.0) == CLOSED_MAX_S


def test_shown_limits_help_to_choose_and_hold_nothing_back() -> None:
    quota = Quota()
    quota.learn(0.0, Shown(3, 1000, 60.0))
    for _ in range(3):
        assert quota.seems_open(0.0, 10)
        quota.sent(0.0, 10)
    assert not quota.seems_open(0.0, 10)
    assert quota.may_send(0.0)
    assert quota.used(0.0) == (3, 30)
    quota.corrected(500)
    assert quota.used(0.0) == (3, 530)
    assert quota.seems_open(70.0, 10)
    assert not quota.seems_open(70.0, 1001)


PREFIX = "x-upstage-ratelimit-"


@pytest.mark.parametrize(
    ("headers", "shown"),
    [
        ({}, Shown()),
        ({"limit-requests": "100", "limit-tokens": "250000", "interval-requests": "60"}, Shown(100, 250_000, 60.0)),
        ({"limit-requests": "-1", "limit-tokens": "many", "interval-requests": "0"}, Shown()),
        ({"limit-requests": "9" * 13, "limit-tokens": "²", "interval-requests": "3601"}, Shown()),
        ({"limit-requests": "", "remaining-requests": "7", "interval-requests": "1"}, Shown(0, 0, 1.0)),
    ],
)
def test_what_cannot_be_a_limit_is_none(headers: dict[str, str], shown: Shown) -> None:
    assert from_wire_limits({PREFIX + name: value for name, value in headers.items()}) == shown
