"""What a partner's contributions come to when some of them were corrected or withdrawn. Pure.

Contributions are never changed: a linked entry takes the place of an earlier one from its own instant on, with its own counts
(`corrects`) or with none (`withdraws`). Units: tokens; instants aware. Rows may come in any order.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
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


class Granted(Protocol):
    """A grant, and the contribution that earned it."""

    @property
    def id(self) -> str: ...
    @property
    def contribution_id(self) -> str: ...
    @property
    def tokens(self) -> int: ...


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


def taken_in_flight(grants: Iterable[Granted], rows: Iterable[Given], used: Mapping[str, int]) -> dict[str, int]:
    """What calls that were under way at a correction took, once it was booked, of the grants before it: by the correction's grant.

    A correction grants its tokens less those that were spent by then. What was spent of the earlier grants since belongs to the same
    tokens, so it comes off the correction's grant, as far as that has any left: a partner's tokens are never given twice.
    """
    known = {row.id: row for row in rows}
    of_contribution = {grant.contribution_id: grant for grant in grants}
    taken: dict[str, int] = {}
    for grant in of_contribution.values():
        contribution, spent = known[grant.contribution_id], 0
        link = contribution.undoes
        while link is not None:
            before = of_contribution.get(link)
            spent += used.get(before.id, 0) if before is not None else 0
            link = known[link].undoes
        if contribution.undoes is not None:
            spent_by_then = contribution.tokens - grant.tokens
            left = grant.tokens - used.get(grant.id, 0)
            taken[grant.id] = max(0, min(spent - spent_by_then, left))
    return taken
