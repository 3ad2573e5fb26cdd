"""The client's hang-up, as an exception at the place where it matters.

Inside `async with HangUp(watch)` the hang-up cancels what is being awaited, and comes out as `ClientGone`. A cancellation from elsewhere
(a deadline, a shutdown) passes through as it is.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress

from gateway.trip import ClientGone

Stop = Callable[[], None]
Watch = Callable[[Callable[[], None]], Stop]
"""Begins to watch, with what to call at the hang-up; gives back what ends the watch."""


class HangUp:
    """One watch over one answer."""

    def __init__(self, watch: Watch) -> None:
        self._begin = watch
        self._gone = False

    async def __aenter__(self) -> None:
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("a hang-up can only cancel a task")
        self._task = task
        self._stop = self._begin(self._on_hang_up)

    def _on_hang_up(self) -> None:
        self._gone = True
        self._task.cancel()

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        self._stop()
        if not self._gone:
            return
        if error is None:
            # The cancellation was asked for, but has not arrived yet: take it here, not in what comes next.
            with suppress(asyncio.CancelledError):
                await asyncio.sleep(0)
        self._task.uncancel()
        if error is None or isinstance(error, asyncio.CancelledError):
            raise ClientGone from None
