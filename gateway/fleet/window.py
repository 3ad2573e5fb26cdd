"""A sliding window that counts what was sent: cheap, bounded, and never above the truth by more than one slot of it. Pure.

Units: seconds on any steady clock; amounts in calls or tokens.
"""

from __future__ import annotations

SLOTS = 15
"""A window of a minute forgets in steps of 4 s."""


class Window:
    """How much in the last `span_s`."""

    __slots__ = ("_amounts", "_at", "_closed_total", "_slot_s", "ends_s", "newest")

    def __init__(self, span_s: float) -> None:
        self.newest = 0
        """What has come in the newest slot, until that ends: whoever counts very often adds to it here."""
        self.ends_s = 0.0
        """When it does: from then on, `add`."""
        self._slot_s = span_s / SLOTS
        self._amounts = [0] * (SLOTS + 1)  # one more: the slot that has begun does not push out a whole one
        self._at = 0
        self._closed_total = 0

    def add(self, now_s: float, amount: int) -> None:
        """Count it; a negative amount takes back what was counted too much."""
        if now_s >= self.ends_s:
            self._advance(int(now_s / self._slot_s))
        self.newest += amount

    def count(self, now_s: float) -> int:
        """The amount that is still in the window."""
        if now_s >= self.ends_s:
            self._advance(int(now_s / self._slot_s))
        return max(0, self._closed_total + self.newest)

    def free_at(self, now_s: float, amount: int) -> float:
        """When at least so much will have left it."""
        self.count(now_s)
        left = amount
        for age in range(SLOTS, -1, -1):
            left -= self._amounts[(self._at - age) % (SLOTS + 1)] if age else self.newest
            if left <= 0:
                return (self._at - age + SLOTS + 1) * self._slot_s
        return now_s + self._slot_s * (SLOTS + 1)

    def _advance(self, at: int) -> None:
        if at > self._at:
            self._amounts[self._at % (SLOTS + 1)] = self.newest
            self._closed_total += self.newest
            self.newest = 0
            for slot in range(self._at + 1, min(at, self._at + SLOTS + 1) + 1):
                self._closed_total -= self._amounts[slot % (SLOTS + 1)]
                self._amounts[slot % (SLOTS + 1)] = 0
            self._at = at
        self.ends_s = (self._at + 1) * self._slot_s
