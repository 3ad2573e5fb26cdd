"""When a call is tried again: tenacity's settings, the same for the sync and the async client.

Full jitter (wait uniformly between 0 and a doubling bound) where the server names no time, exactly the server's time
where it does. A call that still runs (409 `idempotency_in_progress`) was not tried again by being asked for: such questions are
bounded by the deadline alone. A retry whose wait would outlast the deadline is not begun: the caller gets the error itself, at once.
Units: seconds. Raises nothing of its own; the last error is raised as it is.
"""

from collections.abc import Callable
from typing import TypedDict

from tenacity import RetryCallState, retry_if_exception, wait_random_exponential
from tenacity.retry import retry_base

from ..errors import SolarError
from .deadline import Deadline

JITTER_FIRST_S = 0.5
JITTER_S_MAX = 8.0
IN_PROGRESS = "idempotency_in_progress"

_jitter = wait_random_exponential(multiplier=JITTER_FIRST_S, max=JITTER_S_MAX)


class RetryOptions(TypedDict):
    """Keyword arguments of `tenacity.Retrying` and `tenacity.AsyncRetrying`."""

    stop: Callable[[RetryCallState], bool]
    wait: Callable[[RetryCallState], float]
    retry: retry_base
    reraise: bool


def retry_options(retries_max: int, deadline: Deadline) -> RetryOptions:
    attempts_left = retries_max

    def stop(state: RetryCallState) -> bool:
        nonlocal attempts_left
        error = state.outcome.exception() if state.outcome else None
        if retries_max == 0 or not (isinstance(error, SolarError) and error.code == IN_PROGRESS):
            attempts_left -= 1
        return attempts_left < 0 or state.upcoming_sleep >= deadline.left_s()

    return {"stop": stop, "wait": wait_s, "retry": retry_if_exception(may_retry), "reraise": True}


def wait_s(state: RetryCallState) -> float:
    error = state.outcome.exception() if state.outcome else None
    if isinstance(error, SolarError) and error.retry_after_s is not None:
        return error.retry_after_s
    return _jitter(state)


def may_retry(error: BaseException) -> bool:
    return isinstance(error, SolarError) and error.retryable
