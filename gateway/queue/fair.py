"""A bounded queue that is fair between accounts: self-clocked fair queueing (S. J. Golestani, IEEE INFOCOM 1994). Pure.

Each entry gets a tag: where its account's last one ended (or the queue's present, if that is later) plus its cost over the account's
weight; the lowest tag is next. So one account with a thousand entries waits behind its own, and a newcomer waits for nobody's backlog.
Bounds: entries of an account, and of all; where all places are taken, the account with the most entries gives up its newest, unless the
newcomer would be the one with the most. Costs are in calls. Errors: none; a refused entry is returned.
"""

from __future__ import annotations

import heapq
import itertools
from collections import deque
from collections.abc import Iterator, Mapping
from typing import Generic, TypeVar

T = TypeVar("T")


class Entry(Generic[T]):
    """One that waits."""

    __slots__ = ("account_id", "cost", "gone", "item", "tag")

    def __init__(self, item: T, account_id: str, cost: float, tag: float) -> None:
        self.item = item
        self.account_id = account_id
        self.cost = cost
        self.tag = tag
        self.gone = False


class FairQueue(Generic[T]):
    """The entries that wait for one thing."""

    def __init__(self, weights: Mapping[str, int], *, entries_max: int, account_max: int) -> None:
        self._weights = weights
        self._entries_max = entries_max
        self._account_max = account_max
        self._heap: list[tuple[float, int, Entry[T]]] = []
        self._numbers = itertools.count()
        self._present = 0.0
        self._ends: dict[str, float] = {}
        """Where each account's last entry ended; no more than wait, and those just served."""
        self._waiting: dict[str, deque[Entry[T]]] = {}
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def waiting_of(self, account_id: str) -> int:
        return len(self._waiting.get(account_id, ()))

    def ahead_of(self, account_id: str) -> float:
        """How many calls come before the next one of this account, if all who wait now go on waiting."""
        own = self.waiting_of(account_id) / self._weight(account_id)
        others = (
            min(len(queue), self._weight(other) * (own + 1))
            for other, queue in self._waiting.items()
            if other != account_id
        )
        return self.waiting_of(account_id) + sum(others)

    def put(
        self, item: T, account_id: str, cost: float = 1.0, tag: float | None = None
    ) -> tuple[Entry[T] | None, Entry[T] | None]:
        """(its entry, or None where there is no place; the entry that had to make room, if one had to).

        `tag` puts one back where it was that was let through and found no room after all.
        """
        own = self._waiting.get(account_id)
        if own is not None and len(own) >= self._account_max:
            return None, None
        dropped = None
        if self._count >= self._entries_max:
            longest = max(
                self._waiting, key=lambda other: len(self._waiting[other]) / self._weight(other), default=account_id
            )
            if self._share_of(longest) <= self._share_of(account_id, 1):
                return None, None
            dropped = self._waiting[longest][-1]
            self.remove(dropped)
        if tag is None:
            tag = max(self._present, self._ends.get(account_id, 0.0)) + cost / self._weight(account_id)
            self._ends[account_id] = tag
        entry = Entry(item, account_id, cost, tag)
        self._waiting.setdefault(account_id, deque()).append(entry)
        self._count += 1
        heapq.heappush(self._heap, (tag, next(self._numbers), entry))
        return entry, dropped

    def first(self) -> Entry[T] | None:
        """Who is next; stays in the queue until it is removed."""
        while self._heap and self._heap[0][2].gone:
            heapq.heappop(self._heap)
        return self._heap[0][2] if self._heap else None

    def in_order(self) -> Iterator[Entry[T]]:
        """All entries, the next one first; each may be removed when it comes. What waits behind those that are looked at costs nothing."""
        passed: list[tuple[float, int, Entry[T]]] = []
        try:
            while self.first() is not None:
                row = heapq.heappop(self._heap)
                passed.append(row)
                yield row[2]
        finally:
            for row in passed:
                if not row[2].gone:
                    heapq.heappush(self._heap, row)

    def remove(self, entry: Entry[T], *, served: bool = False) -> None:
        """Take out one that was served, or that waits no longer. Safe to repeat."""
        if entry.gone:
            return
        entry.gone = True
        self._count -= 1
        own = self._waiting[entry.account_id]
        own.remove(entry)
        if not own:
            del self._waiting[entry.account_id]
        if served:
            self._present = max(self._present, entry.tag)
        elif entry.account_id in self._ends:
            self._ends[entry.account_id] -= entry.cost / self._weight(entry.account_id)
        if len(self._heap) > 2 * self._count + 64:
            self._heap = [row for row in self._heap if not row[2].gone]
            heapq.heapify(self._heap)
        if len(self._ends) > 2 * len(self._waiting) + 64:
            self._ends = {
                account_id: end
                for account_id, end in self._ends.items()
                if end > self._present or account_id in self._waiting
            }

    def _weight(self, account_id: str) -> int:
        return self._weights.get(account_id, 1)

    def _share_of(self, account_id: str, more: int = 0) -> float:
        return (self.waiting_of(account_id) + more) / self._weight(account_id)
