"""Waiting for a condition, within a bound; the only place in the tests that sleeps."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

_POLL_S = 0.02
T = TypeVar("T")


def wait_until(condition: Callable[[], T | None], timeout_s: float, what: str) -> T:
    """The first true value of `condition`; fails with `what` after the bound."""
    deadline = time.monotonic() + timeout_s
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {timeout_s:g} s: {what}")
        time.sleep(_POLL_S)
