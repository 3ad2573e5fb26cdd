"""Notices, in a worker, that the rest of a budget did not cover a call, and raises the alert that follows. Never on the call's own time.

A refusal only marks its budget; a moment later, when the ledger has caught up, the budget is looked at once. Bounds: `budgets_max`
marks wait or are remembered; a budget is looked at no more often than every `pause_s`.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict

import structlog

from billing.database import Sessions, StorageError
from gateway.alerts import store
from gateway.call import Caller
from gateway.clock import Clock
from gateway.errors import InsufficientQuota, NotCovered

_Mark = tuple[str, tuple[str, ...]]
log = structlog.get_logger("alerts")


class Refusals:
    """The marks of one process."""

    def __init__(
        self,
        sessions: Sessions,
        clock: Clock,
        *,
        pause_s: float = 2.0,
        settle_s: float = 1.0,
        budgets_max: int = 10_000,
    ) -> None:
        self._sessions = sessions
        self._clock = clock
        self._pause_s = pause_s
        self._settle_s = settle_s
        self._budgets_max = budgets_max
        self._seen: OrderedDict[_Mark, float] = OrderedDict()
        self._marked: set[_Mark] = set()
        self._looking: asyncio.Task[None] | None = None

    def saw(self, caller: Caller, error: NotCovered) -> None:
        """A call of this caller was refused, because what is left of a budget does not cover it."""
        of_caps = (store.ACCOUNT, store.key_scope(caller.key_id))
        mark = (caller.account_id, (store.PREPAID,) if isinstance(error, InsufficientQuota) else of_caps)
        now = time.monotonic()
        if now < self._seen.get(mark, 0.0) or len(self._marked) >= self._budgets_max:
            return
        self._seen[mark] = now + self._pause_s
        self._seen.move_to_end(mark)
        while len(self._seen) > self._budgets_max:
            self._seen.popitem(last=False)
        self._marked.add(mark)
        if self._looking is None or self._looking.done():
            self._looking = asyncio.ensure_future(self._look())

    async def _look(self) -> None:
        while self._marked:
            await asyncio.sleep(self._settle_s)
            marked, self._marked = self._marked, set()
            try:
                for account_id, scopes in sorted(marked):
                    await self._look_at(account_id, scopes)
            except (StorageError, OSError, TimeoutError) as error:
                log.warning("alerts_fault", kind=type(error).__name__)  # the next refusal marks it again

    async def _look_at(self, account_id: str, scopes: tuple[str, ...]) -> None:
        """Of the caps that the call stood under it was the one spent furthest."""
        now = self._clock.now()
        async with self._sessions.begin() as session:
            budgets = await store.budgets_of(session, account_id, now)
            meant = [budget for budget in budgets if budget.scope in scopes and budget.amount > 0]
            if meant:
                furthest = max(meant, key=lambda budget: budget.spent / budget.amount)
                await store.raise_alerts(session, budgets, now, refused={(account_id, furthest.scope)})

    async def close(self) -> None:
        """Leave the marks: the job looks at all budgets anyway, and the next refusal marks them again."""
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.wait([self._looking])
