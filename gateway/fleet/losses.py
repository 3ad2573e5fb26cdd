"""Books what upstream may bill for attempts that brought no answer. Never on a call's own time, never to its caller.

Rows wait in memory, at most `rows_max`, until Postgres has them; a worker that is killed meanwhile loses those of its last moment (the log
has their calls). Costs: exact USD at upstream's price where the card says it, else at the list price; at most: by the bounds of the call.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import structlog

from billing.database import Sessions, StorageError
from billing.lost.store import book
from billing.money import add, multiply, nano_usd_up
from billing.prices import list_cost
from billing.usage import Usage
from gateway.call import Call
from gateway.clock import Clock, from_ns
from gateway.fleet.errand import Lost
from gateway.metrics import LOST_ATTEMPTS, PENDING_NANO_USD

log = structlog.get_logger("upstream")
_BATCH_MAX = 100


class Losses:
    """The rows of one process."""

    def __init__(
        self, sessions: Sessions, clock: Clock, *, rows_max: int = 10_000, pause_s: float = 1.0, close_s: float = 5.0
    ) -> None:
        self._sessions = sessions
        self._clock = clock
        self._rows_max = rows_max
        self._pause_s = pause_s
        self._close_s = close_s
        self._rows: deque[dict[str, Any]] = deque()
        self._writing: asyncio.Task[None] | None = None

    def book(self, call: Call, lost: Sequence[Lost]) -> None:
        """These attempts of a call are lost."""
        for each in lost:
            row = to_row_lost(call, each)
            LOST_ATTEMPTS.inc()
            PENDING_NANO_USD.inc(nano_usd_up(row["cost"]))
            known = {"call_id": str(call.id), "attempt": each.attempt, "key": each.upstream_key, "why": each.why}
            log.warning("upstream_attempt_lost", **known)
            if len(self._rows) >= self._rows_max:
                log.error("upstream_attempt_not_booked", **known)
                continue
            self._rows.append(row)
        if self._rows and (self._writing is None or self._writing.done()):
            self._writing = asyncio.ensure_future(self._write())

    async def _write(self) -> None:
        while self._rows:
            batch = [{**row, "recorded_at": self._clock.now()} for row in list(self._rows)[:_BATCH_MAX]]
            try:
                async with self._sessions() as session, session.begin():
                    await book(session, batch)
            except (StorageError, OSError, TimeoutError):
                await asyncio.sleep(self._pause_s)
                continue
            for _ in batch:
                self._rows.popleft()

    async def close(self) -> None:
        """Wait a moment until Postgres has the rest."""
        if self._writing is not None:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._writing, self._close_s)
        for row in self._rows:
            log.error("upstream_attempt_not_booked", call_id=str(row["call_id"]), attempt=row["attempt"])


def to_row_lost(call: Call, lost: Lost) -> dict[str, Any]:
    """The row of a lost attempt, all but when it was written."""
    prices = call.price.buy or call.price.prices
    likely = Usage(
        call.prompt_tokens_best, 0, call.output_tokens_expected if not call.pages_max else 0, call.pages_best
    )
    at_most = Usage(call.prompt_tokens_max, 0, call.output_tokens_max)
    page = max(prices.standard, prices.enhanced)
    return {
        "call_id": call.id,
        "attempt": lost.attempt,
        "accepted_at": from_ns(call.accepted_ns),
        "account_id": call.caller.account_id,
        "key_id": call.caller.key_id,
        "endpoint": call.endpoint,
        "model": call.price.model,
        "upstream_key": lost.upstream_key,
        "why": lost.why,
        "input_tokens": likely.input_tokens,
        "output_tokens": likely.output_tokens,
        "pages": call.pages_best,
        "cost": list_cost(likely, prices),
        "cost_max": add((list_cost(at_most, prices), multiply(page, call.pages_max))),
    }
