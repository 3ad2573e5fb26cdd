"""Guessing keys is slow: an allowance for each address and one for all together, in bounded memory, and nobody locks out another."""

from __future__ import annotations

import pytest

from gateway.errors import RateLimited
from gateway.keys.guesses import Guesses


class Steered:
    """A clock that the test moves."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds


def guesses_on(clock: Steered, *, burst: int = 5, addresses_max: int = 100, everyone_factor: int = 20) -> Guesses:
    return Guesses(burst=burst, per_minute=60, addresses_max=addresses_max, everyone_factor=everyone_factor, now=clock)


def allowed(guesses: Guesses, site: str, count: int) -> int:
    """How many of so many guesses are looked up."""
    passed = 0
    for _ in range(count):
        try:
            guesses.take(site)
        except RateLimited:
            continue
        passed += 1
    return passed


def test_an_address_is_refused_after_its_allowance_and_a_wait_as_long_as_told_is_enough() -> None:
    clock = Steered()
    guesses = guesses_on(clock)
    assert allowed(guesses, "192.0.2.1", 50) == 5
    with pytest.raises(RateLimited) as refused:
        guesses.take("192.0.2.1")
    assert (refused.value.status, refused.value.code) == (429, "rate_limit_exceeded")
    wait_ms = int(refused.value.headers["retry-after-ms"])
    assert 0 < wait_ms <= 1001
    clock.seconds += wait_ms / 1000
    assert allowed(guesses, "192.0.2.1", 50) == 1
    clock.seconds += 60
    assert allowed(guesses, "192.0.2.1", 50) == 5


def test_one_address_takes_nothing_from_another() -> None:
    guesses = guesses_on(Steered())
    allowed(guesses, "192.0.2.1", 1000)
    assert allowed(guesses, "192.0.2.2", 5) == 5


def test_a_key_that_was_no_guess_costs_nothing() -> None:
    guesses = guesses_on(Steered())
    for _ in range(1000):
        guesses.take("192.0.2.1")
        guesses.give_back("192.0.2.1")
    assert allowed(guesses, "192.0.2.1", 50) == 5
    assert len(guesses._left) == 1


def test_a_thousand_addresses_together_are_slowed_and_one_that_never_guessed_is_not() -> None:
    clock = Steered()
    guesses = guesses_on(clock, everyone_factor=3, addresses_max=5000)
    rounds = [sum(allowed(guesses, f"site {n}", 1) for n in range(1000)) for _ in range(5)]
    assert rounds[0] == 1000  # each one's first
    assert sum(rounds[1:]) == 0
    guesses.take("a caller with a valid key")
    guesses.give_back("a caller with a valid key")
    clock.seconds += 1
    assert 3 <= sum(allowed(guesses, f"site {n}", 1) for n in range(1000)) <= 4


def test_memory_is_bounded_whatever_the_number_of_addresses() -> None:
    guesses = guesses_on(Steered(), addresses_max=10)
    for n in range(10_000):
        allowed(guesses, f"2001:db8:{n:x}::/64", 1)
    assert len(guesses._left) == 10
