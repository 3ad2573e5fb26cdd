"""What one call wants of the fleet, and what became of its attempts so far.

Units: tokens; seconds on a steady clock. Values only.
"""

from __future__ import annotations

from typing import NamedTuple


class Lost(NamedTuple):
    """An attempt that brought no answer, though upstream may have carried it out, and may bill it."""

    attempt: int
    upstream_key: str
    why: str


NO_WAITS: dict[int, float] = {}
"""Of nearly all calls; never filled."""


class Errand:
    """One call on its way upstream. Made once a call; most of it stays as it is, and stands in the class."""

    trace = b""
    """A header line that goes with each attempt; empty where the call is not traced."""
    attempts = 0
    lost: tuple[Lost, ...] = ()
    tried: tuple[int, ...] = ()
    """Keys that must not be asked again, by their places."""
    unreached: tuple[int, ...] = ()
    """Keys that heard nothing of it: others come first."""
    waits: dict[int, float] = NO_WAITS
    """Until when upstream told this call to wait, by the places of the keys that were refused."""
    quota_refusals = 0
    """How many of its attempts upstream refused for its quota: they cost nobody anything."""
    queue_until_s = 0.0
    """Once it has waited: until when it may."""
    queued = False
    """Was it let through in its turn?"""

    def __init__(self, account_id: str, model: str, tokens: int) -> None:
        self.account_id = account_id
        self.model = model
        self.tokens = tokens
        """What it is expected to count against a minute's tokens."""

    def must_wait(self, place: int, until_s: float) -> None:
        """Upstream refused this call for its quota."""
        self.quota_refusals += 1
        self.waits = {**self.waits, place: until_s}

    def lose(self, upstream_key: str, why: str) -> None:
        """The attempt now under way brought no answer, and may be billed."""
        self.lost = (*self.lost, Lost(self.attempts, upstream_key, why))
