"""A sliding window that counts what was sent: cheap, bounded, and never above the truth by more than one slot of it. Pure.

Units: seconds on any steady clock; amounts in calls or tokens.
"""

from __future__ import annotations

SLOTS = 15
"""A window of a minute forgets in steps of 4 s."""


class Window:
    """How much in the last `span_s`."""

    __slots__ = ("_amounts", "_at", "_slot_s", "total")

    def __init__(self, span_s: float) -> None:
        self._slot_s = span_s / SLOTS
        self._amounts = [0] * (SLOTS + 1)  # one more: the slot that has begun does not push out a whole one
        self._at = 0
        self.total = 0

    def add(self, now_s: float, amount: int) -> None:
        """Count it; a negative amount takes back what was counted too much."""
        at = int(now_s / self._slot_s)
        if at != self._at:
            self._advance(at)
        self._amounts[at % (SLOTS + 1)] += amount
        self.total += amount

    def count(self, now_s: float) -> int:
        """The amount that is still in the window."""
        at = int(now_s / self._slot_s)
        if at != self._at:
            self._advance(at)
        return max(0, self.total)

    def free_at(self, now_s: float, amount: int) -> float:
        """When at least so much will have left it."""
        self.count(now_s)
        left = amount
        for age in range(SLOTS, -1, -1):
            left -= self._amounts[(self._at - age) % (SLOTS + 1)]
            if left <= 0:
                return (self._at - age + SLOTS + 1) * self._slot_s
        return now_s + self._slot_s * (SLOTS + 1)

    def _advance(self, at: int) -> None:
        if at < self._at:
            return
        for slot in range(self._at + 1, min(at, self._at + SLOTS + 1) + 1):
            self.total -= self._amounts[slot % (SLOTS + 1)]
            self._amounts[slot % (SLOTS + 1)] = 0
        self._at = at
