"""One request of a task, so that it takes effect once whatever dies in between.

Before a request is sent its idempotency key's generation, and what was decided for it, are written down; sent again, it is the same
request under the same key, to which Stripe gives the first answer. Two things end a key: its age (Stripe may have forgotten it) and an
answer that Stripe keeps though it settles nothing (a 5xx, a refusal). After that Stripe is asked for the thing itself, by our id, and
only where it is not there a new key is made. Units: seconds of the world's clock, which is Stripe's.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from billing.collect import store
from billing.collect.tables import StripeTask
from billing.database import Sessions
from billing.stripe_client import KEY_KEPT_S, Object, StripeBroken, StripeRefused

KEY_TRUSTED_S: Final = KEY_KEPT_S * 5 // 6
"""A key older than this is not used any more, well before Stripe may forget it."""

Send = Callable[[str, Mapping[str, Any]], Awaitable[Object]]
"""(key, what was decided) → what Stripe made."""

Find = Callable[[], Awaitable[Object | None]]
Decide = Callable[[], Awaitable[Mapping[str, Any]]]


async def _nothing() -> Mapping[str, Any]:
    return {}


class Steps:
    """The requests of one task, in their order; each is asked for by name and done at most once."""

    def __init__(self, sessions: Sessions, task: StripeTask, now: Callable[[], datetime]) -> None:
        self._sessions = sessions
        self._task = task
        self._now = now
        self._marks: dict[str, dict[str, Any]] = {name: dict(mark) for name, mark in task.steps.items()}

    def outcome(self, name: str) -> str | None:
        """Stripe's name of what a step made."""
        return self._marks.get(name, {}).get("id")

    async def once(self, name: str, send: Send, find: Find, decide: Decide = _nothing) -> str:
        """Do a step unless it is done; returns Stripe's name of its outcome. `decide` is asked once for each key."""
        mark = self._marks.get(name)
        if mark is not None and mark.get("id"):
            return str(mark["id"])
        if mark is None:
            mark = await self._begin(name, 1, decide)
        elif mark.get("spent") or self._now() - datetime.fromisoformat(mark["at"]) > timedelta(seconds=KEY_TRUSTED_S):
            found = await find()
            if found is not None:
                return await self._end(name, mark, found)
            mark = await self._begin(name, mark["generation"] + 1, decide)
        try:
            made = await send(f"{self._task.kind}:{self._task.subject_id}:{name}:{mark['generation']}", mark["decided"])
        except (StripeBroken, StripeRefused):
            await self._save(name, {**mark, "spent": True})
            raise
        return await self._end(name, mark, made)

    async def _begin(self, name: str, generation: int, decide: Decide) -> dict[str, Any]:
        mark = {"generation": generation, "at": self._now().isoformat(), "decided": dict(await decide())}
        await self._save(name, mark)
        return mark

    async def _end(self, name: str, mark: Mapping[str, Any], made: Object) -> str:
        shown = {"url": made["url"]} if made.get("url") else {}
        named = {"made_id": made["id"]} if name == self._task.kind else {}
        await self._save(name, {**mark, "id": made["id"], **shown}, **named)
        return str(made["id"])

    async def _save(self, name: str, mark: Mapping[str, Any], **named: str) -> None:
        self._marks[name] = dict(mark)
        async with self._sessions.begin() as session:
            await store.note(session, self._task, steps=self._marks, **named)
