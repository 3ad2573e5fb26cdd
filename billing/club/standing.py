"""What a partner's contributions come to when some of them were corrected or withdrawn. Pure.

Contributions are never changed: a linked entry takes the place of an earlier one from its own instant on, with its own counts
(`corrects`) or with none (`withdraws`). Units: tokens; instants aware. Rows may come in any order.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from decimal import Decimal
from typing import Protocol, TypeVar


class Given(Protocol):
    """A contribution or an entry that undoes one."""

    @property
    def id(self) -> str: ...
    @property
    def dataset(self) -> str: ...
    @property
    def tokens(self) -> int: ...
    @property
    def quality(self) -> Decimal: ...
    @property
    def accepted_at(self) -> datetime: ...
    @property
    def undoes(self) -> str | None: ...


Row = TypeVar("Row", bound=Given)


def token_steps(rows: Iterable[Given]) -> list[tuple[datetime, int, str]]:
    """(instant, accepted tokens more or fewer from then on, by which entry), oldest first: what the tier is worked out from."""
    known = {row.id: row for row in rows}
    steps = [
        (row.accepted_at, row.tokens - (known[row.undoes].tokens if row.undoes in known else 0), row.id)
        for row in known.values()
    ]
    return sorted(steps)


def standing_at(rows: Iterable[Row], end: datetime) -> list[Row]:
    """The contributions that count just before an instant: accepted by then, not undone by then, and not empty."""
    accepted = [row for row in rows if row.accepted_at < end]
    undone = {row.undoes for row in accepted if row.undoes is not None}
    return [row for row in accepted if row.id not in undone and row.tokens > 0]
