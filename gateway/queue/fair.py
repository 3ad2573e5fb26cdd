"""A bounded queue that is fair between accounts: self-clocked fair queueing (S. J. Golestani, IEEE INFOCOM 1994). Pure.

Each account has a line of its own, and its line a mark: where what it was let through last ended, or the queue's present, if that is
later. The head of a line ends at its mark plus its cost over the account's weight; whoever ends first is next. So one account with a
thousand entries waits behind its own, a newcomer waits for nobody's backlog, and who leaves unserved costs its account nothing.
Bounds: entries of an account, and of all; where all places are taken, the account with the most entries gives up its newest, unless the
newcomer would be the one with the most. Costs are in calls. Errors: none; a refused entry is returned.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Iterator, Mapping
from typing import Generic, TypeVar

T = TypeVar("T")


class Entry(Generic[T]):
    """One that waits."""

    __slots__ = ("account_id", "cost", "gone", "item")

    def __init__(self, item: T, account_id: str, cost: float) -> None:
        self.item = item
        self.account_id = account_id
        self.cost = cost
        self.gone = False


class _Line(Generic[T]):
    """The entries of one account, in the order of their coming."""

    __slots__ = ("entries", "mark")

    def __init__(self, mark: float) -> None:
        self.entries: deque[Entry[T]] = deque()
        self.mark = mark


class FairQueue(Generic[T]):
    """The entries that wait for one thing. To say who is next takes a look at each account that waits: dozens, rarely hundreds."""

    def __init__(self, weights: Mapping[str, int], *, entries_max: int, account_max: int) -> None:
        self._weights = weights
        self._entries_max = entries_max
        self._account_max = account_max
        self._present = 0.0
        self._lines: dict[str, _Line[T]] = {}
        self._marks: dict[str, float] = {}
        """Of accounts that wait no more, while they are ahead of the present."""
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def waiting_of(self, account_id: str) -> int:
        line = self._lines.get(account_id)
        return 0 if line is None else len(line.entries)

    def ahead_of(self, account_id: str) -> float:
        """How many calls come before the next one of this account, if all who wait now go on waiting."""
        own = self.waiting_of(account_id)
        rounds = (own + 1) / self._weight(account_id)
        others = (
            min(len(line.entries), self._weight(other) * rounds)
            for other, line in self._lines.items()
            if other != account_id
        )
        return own + sum(others)

    def put(
        self, item: T, account_id: str, cost: float = 1.0, *, again: bool = False
    ) -> tuple[Entry[T] | None, Entry[T] | None]:
        """(its entry, or None where there is no place; the entry that had to make room, if one had to).

        `again`: it was let through before, and found no room after all. It comes first of its account, which gets back what that cost, and
        there is a place for it: of such there are no more than are let through at once.
        """
        if self.waiting_of(account_id) >= self._account_max and not again:
            return None, None
        dropped = None
        if self._count >= self._entries_max and not again:
            longest = max(self._lines, key=self._share_of, default=account_id)
            if self._share_of(longest) <= self._share_of(account_id, 1):
                return None, None
            dropped = self._lines[longest].entries[-1]
            self.remove(dropped)
        entry, line = Entry(item, account_id, cost), self._lines.get(account_id)
        if line is None:
            mark = self._marks.pop(account_id, 0.0)
            line = self._lines[account_id] = _Line(mark if again else max(self._present, mark))
        if again:
            line.mark -= cost / self._weight(account_id)
            line.entries.appendleft(entry)
        else:
            line.entries.append(entry)
        self._count += 1
        return entry, dropped

    def in_order(self) -> Iterator[Entry[T]]:
        """All entries, the next one first; each may be removed when it comes."""
        heads = [
            (self._end(line.mark, line.entries[0]), place, line, 0) for place, line in enumerate(self._lines.values())
        ]
        heapq.heapify(heads)
        while heads:
            end, place, line, at = heads[0]
            entry = line.entries[at]
            yield entry
            if not entry.gone:
                at += 1
            if at < len(line.entries):
                heapq.heapreplace(heads, (self._end(end, line.entries[at]), place, line, at))
            else:
                heapq.heappop(heads)

    def remove(self, entry: Entry[T], *, served: bool = False) -> None:
        """Take out one that was served, or that waits no longer. Safe to repeat."""
        if entry.gone:
            return
        entry.gone = True
        self._count -= 1
        line = self._lines[entry.account_id]
        line.entries.remove(entry)
        if served:
            line.mark = self._end(line.mark, entry)
            self._present = max(self._present, line.mark)
        if not line.entries:
            del self._lines[entry.account_id]
            self._marks[entry.account_id] = line.mark
            if len(self._marks) > 2 * len(self._lines) + 64:
                self._marks = {each: mark for each, mark in self._marks.items() if mark > self._present}

    def _end(self, mark: float, entry: Entry[T]) -> float:
        return mark + entry.cost / self._weight(entry.account_id)

    def _weight(self, account_id: str) -> int:
        return self._weights.get(account_id, 1)

    def _share_of(self, account_id: str, more: int = 0) -> float:
        return (self.waiting_of(account_id) + more) / self._weight(account_id)
