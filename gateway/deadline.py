"""One deadline for each call of a process, all of the same length, kept by one timer.

`asyncio.timeout` costs a timer, two objects and 13 µs a call; this costs an entry in a table. As there, a call whose time is up is
cancelled, and whoever carries it turns that cancellation into what it means. Units: seconds on the loop's clock.
"""

from __future__ import annotations

import asyncio


class Deadlines:
    """The deadlines of the calls under way, the oldest first."""

    def __init__(self, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        self._due_s: dict[asyncio.Task[None], float] = {}
        self._passed: set[asyncio.Task[None]] = set()
        self._timer: asyncio.TimerHandle | None = None

    def begin(self) -> asyncio.Task[None]:
        """From now on, for so long, the task that asks may carry its call; returns that task."""
        task, loop = asyncio.current_task(), asyncio.get_running_loop()
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
