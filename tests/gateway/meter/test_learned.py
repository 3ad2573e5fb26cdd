"""The bound that is learned from upstream's counts: silent at first, above what it has seen, and forgetful in time."""

from __future__ import annotations

from random import Random

from hypothesis import given
from hypothesis import strategies as st

from gateway.meter.learned import CALLS_MIN, WINDOW, PromptRatios


def test_nothing_is_said_before_enough_calls_were_counted() -> None:
    ratios = PromptRatios(entries_max=10)
    for _ in range(CALLS_MIN - 1):
        ratios.learn("acc", "solar-pro4", 100, 90)
    assert ratios.bound("acc", "solar-pro4", 100) is None
    ratios.learn("acc", "solar-pro4", 100, 90)
    assert ratios.bound("acc", "solar-pro4", 100) is not None
    assert ratios.bound("acc", "solar-mini4", 100) is None
    assert ratios.bound("another", "solar-pro4", 100) is None


@given(st.lists(st.tuples(st.integers(1, 10**6), st.integers(1, 10**6)), min_size=CALLS_MIN, max_size=WINDOW))
def test_no_prompt_like_one_of_the_last_has_more_than_the_bound(prompts: list[tuple[int, int]]) -> None:
    ratios = PromptRatios(entries_max=1)
    for best, counted in prompts:
        ratios.learn("acc", "m", best, counted)
    for best, counted in prompts:
        bound = ratios.bound("acc", "m", best)
        assert bound is not None
        assert counted < bound


def test_a_dense_prompt_is_forgotten_after_two_windows_and_not_before_one() -> None:
    ratios = PromptRatios(entries_max=1)
    ratios.learn("acc", "m", 100, 400)
    for n in range(2 * WINDOW):
        bound = ratios.bound("acc", "m", 100)
        assert bound is None or n >= CALLS_MIN - 1
        if CALLS_MIN <= n < WINDOW:
            assert bound is not None
            assert bound > 400
        ratios.learn("acc", "m", 100, 100)
    bound = ratios.bound("acc", "m", 100)
    assert bound is not None
    assert bound < 200


def test_only_so_many_pairs_are_remembered_and_the_one_unused_for_longest_goes() -> None:
    ratios = PromptRatios(entries_max=2)
    for account in ("a", "b"):
        for _ in range(CALLS_MIN):
            ratios.learn(account, "m", 10, 10)
    ratios.learn("a", "m", 10, 10)
    ratios.learn("c", "m", 10, 10)
    assert ratios.bound("a", "m", 10) is not None
    assert ratios.bound("b", "m", 10) is None


def test_prompts_of_one_kind_stay_below_what_was_learned_of_them() -> None:
    """Tokens a byte as real tokenizers have them for Korean prose (0.20 to 0.33, `gateway/meter/learned.py`)."""
    chance, ratios, beyond, tried = Random(5), PromptRatios(entries_max=1), 0, 0
    for _ in range(3000):
        body_bytes = chance.randrange(250, 8000)
        counted = int(body_bytes * chance.uniform(0.20, 0.33))
        best = -(-body_bytes // 4)
        bound = ratios.bound("acc", "m", best)
        if bound is not None:
            tried, beyond = tried + 1, beyond + (counted > bound)
        ratios.learn("acc", "m", best, counted)
    assert tried == 3000 - CALLS_MIN
    assert beyond == 0
