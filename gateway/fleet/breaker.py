"""One key's health: closed while it answers, open after so many failures in a row, half-open for one call at a time. Pure.

        closed ──failures_max in a row, or one refusal of the key itself──▶ open ──pause over──▶ half-open ──an answer──▶ closed
                                                                             ◀──────────────a failure, pause doubled──────┘
Pauses are drawn between a half and the whole, so that workers do not knock in step. A key that upstream refuses (401, 403, spending cap)
needs a human, so it is tried less often.
Units: seconds on a steady clock.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from enum import StrEnum


class Health(StrEnum):
    """Why a key is in or out."""

    HEALTHY = "healthy"
    FAILING = "failing"
    """Its address cannot be reached, or fails."""
    REFUSED = "refused"
    """Upstream refuses the key: a human is needed."""


@dataclass(frozen=True, slots=True)
class BreakerRules:
    """When a key is out, and how often it is tried."""

    failures_max: int = 5
    pause_s: float = 1.0
    pause_max_s: float = 30.0
    refused_pause_s: float = 30.0
    refused_pause_max_s: float = 600.0
    probe_patience_s: float = 1.0
    """How long others wait for what one call finds out, before they try for themselves."""


class Breaker:
    """The state of one key."""

    __slots__ = (
        "_pause_s",
        "_probe_from_s",
        "_probe_since_s",
        "_rules",
        "failures",
        "health",
        "reason",
        "since_s",
        "tried_at_s",
    )

    def __init__(self, rules: BreakerRules) -> None:
        self.health = Health.HEALTHY
        self.reason = ""
        self.since_s = 0.0
        self.tried_at_s = 0.0
        self._rules = rules
        self.failures = 0
        """In a row, since it last answered."""
        self._pause_s = 0.0
        self._probe_from_s = 0.0
        self._probe_since_s: float | None = None

    @property
    def is_closed(self) -> bool:
        return self.health is Health.HEALTHY

    def served(self) -> bool:
        """It answered; True where that is news."""
        self.failures = 0
        if self.health is Health.HEALTHY:
            return False
        self.health, self.reason, self._probe_since_s = Health.HEALTHY, "", None
        return True

    def failed(self, now_s: float, reason: str) -> bool:
        """It could not be reached, or broke; True where that opens the breaker."""
        self.failures += 1
        if self.health is Health.HEALTHY and self.failures < self._rules.failures_max:
            return False
        rules = self._rules
        if self.health is Health.REFUSED:
            return self._open(now_s, Health.REFUSED, self.reason, rules.refused_pause_s, rules.refused_pause_max_s)
        return self._open(now_s, Health.FAILING, reason, rules.pause_s, rules.pause_max_s)

    def refused(self, now_s: float, reason: str) -> bool:
        """Upstream refuses the key; True where that is news."""
        rules = self._rules
        return self._open(now_s, Health.REFUSED, reason, rules.refused_pause_s, rules.refused_pause_max_s)

    def _open(self, now_s: float, health: Health, reason: str, pause_s: float, pause_max_s: float) -> bool:
        news = self.health is not health
        if news:
            self.since_s, self._pause_s = now_s, pause_s
        elif self._probe_since_s is not None:  # what was under way when it opened says nothing new
            self._pause_s = min(2 * self._pause_s, pause_max_s)
        self.health, self.reason, self._probe_since_s = health, reason, None
        self._probe_from_s = now_s + self._pause_s * random.uniform(0.5, 1.0)  # noqa: S311  spreads calls, hides nothing
        return news

    # ---- half-open ----------------------------------------------------------------------------------------------------------

    def is_due(self, now_s: float) -> bool:
        """May a call see whether it is back, though others could take it?"""
        return now_s >= self.due_at()

    def due_at(self) -> float:
        """From when on a call may see, as far as is known."""
        return max(self._probe_from_s, self.probe_known_at())

    def is_probed(self, now_s: float) -> bool:
        """Is a call finding out just now? One that has not failed for a while holds nobody up."""
        return now_s < self.probe_known_at()

    def probe_known_at(self) -> float:
        """Until when others wait for it."""
        return 0.0 if self._probe_since_s is None else self._probe_since_s + self._rules.probe_patience_s

    def probing(self, now_s: float) -> None:
        self._probe_since_s = self.tried_at_s = now_s
        self._probe_from_s = max(self._probe_from_s, now_s + self._pause_s)

    def unprobed(self) -> None:
        """The call that was to find out ended without having found out anything."""
        self._probe_since_s = None
