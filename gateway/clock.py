"""What time it is, and when time is up. One clock for the whole gateway; in a sandbox it can be set, and runs on from there.

Units: Unix nanoseconds and milliseconds, aware datetimes in UTC. Rate limits use Redis's clock, not this one.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Clock:
    """The system's clock, shifted by an offset (0 outside a sandbox)."""

    offset_ns: int = 0

    @classmethod
    def starting_at(cls, instant: datetime) -> Clock:
        """A clock that shows `instant` now and runs on."""
        return cls(to_ns(instant) - time.time_ns())

    def now_ns(self) -> int:
        return time.time_ns() + self.offset_ns

    def now(self) -> datetime:
        return from_ns(self.now_ns())


def to_ns(instant: datetime) -> int:
    """An aware datetime as Unix nanoseconds, exactly (microseconds are its finest)."""
    return (instant - _EPOCH) // timedelta(microseconds=1) * 1000


def from_ns(instant_ns: int) -> datetime:
    return _EPOCH + timedelta(microseconds=instant_ns // 1000)


class Deadlines:
    """One deadline for each call under way, all of the same length, kept by one timer.

    `asyncio.timeout` costs a timer, two objects and 13 µs a call; this costs an entry in a table. As there, a call whose time is up is
    cancelled, and whoever carries it turns that cancellation into what it means. Seconds on the loop's clock.
    """

    def __init__(self, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        self._due_s: dict[asyncio.Task[None], float] = {}
        self._passed: set[asyncio.Task[None]] = set()
        self._timer: asyncio.TimerHandle | None = None

    def begin(self, task: asyncio.Task[None] | None = None) -> asyncio.Task[None]:
        """From now on, for so long, a task (if none is named, the one that asks) may carry its call; returns that task."""
        task, loop = task or asyncio.current_task(), asyncio.get_running_loop()
        if task is None:
            raise RuntimeError("only a task can be cancelled when its time is up")
        self._due_s[task] = loop.time() + self._timeout_s
        if self._timer is None:
            self._timer = loop.call_later(self._timeout_s, self._look, loop)
        return task

    def end(self, task: asyncio.Task[None]) -> bool:
        """The call has ended: True where that was because its time was up."""
        self._due_s.pop(task, None)
        if task not in self._passed:
            return False
        self._passed.discard(task)
        task.uncancel()
        return True

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        """The oldest deadline is due, or has ended since; the next look is at the one that is now the oldest."""
        self._timer, now_s = None, loop.time()
        for task, due_s in tuple(self._due_s.items()):
            if due_s > now_s:
                self._timer = loop.call_at(due_s, self._look, loop)
                return
            del self._due_s[task]
            self._passed.add(task)
            task.cancel()
