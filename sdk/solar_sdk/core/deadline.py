"""One instant at which a call is over, whatever it is doing then.

Units: seconds of a monotonic clock, which is an argument. Raises DeadlineExceededError.
"""

import time
from collections.abc import Callable

from ..errors import DeadlineExceededError

LAST_WAIT_S = 0.001  # a wait of exactly 0 would mean "do not block" to a socket


class Deadline:
    def __init__(self, timeout_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.timeout_s = timeout_s
        self._clock = clock
        self._ends_at_s = clock() + timeout_s

    def left_s(self) -> float:
        return self._ends_at_s - self._clock()

    def passed(self) -> bool:
        return self.left_s() <= 0

    def check(self, call_id: str | None = None) -> None:
        if self.passed():
            raise self.error(call_id)

    def bounded_s(self, wait_s: float | None) -> float:
        """The wait, cut to what is left."""
        left_s = max(self.left_s(), LAST_WAIT_S)
        return left_s if wait_s is None else min(wait_s, left_s)

    def error(self, call_id: str | None = None) -> DeadlineExceededError:
        return DeadlineExceededError(
            f"The call was not finished within its {self.timeout_s:g} s.", code="deadline_exceeded", call_id=call_id
        )
