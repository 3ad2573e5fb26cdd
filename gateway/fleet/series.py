"""What the fleet did, written to its series a few times a second: plain numbers until then."""

from __future__ import annotations

from gateway.fleet.fleet import Fleet
from gateway.fleet.member import RESULTS, Member
from gateway.metrics import (
    UPSTREAM_ATTEMPTS,
    UPSTREAM_KEY_WELL,
    UPSTREAM_QUOTA_REFUSALS,
    UPSTREAM_WAITED_CALLS,
    UPSTREAM_WAITING_CALLS,
)


class FleetSeries:
    """The series of one process's fleet; a key's label is its public name, of which the settings allow a few dozen."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet
        self._told = [dict.fromkeys(RESULTS, 0) for _ in fleet.members]
        self._waited = self._refused = 0
        fleet.on_change = self._changed
        for member in fleet.members:
            self._changed(member)

    def _changed(self, member: Member) -> None:
        UPSTREAM_KEY_WELL.labels(member.key.name).set(int(member.healthy))

    def flush(self) -> None:
        """Write out what was counted since."""
        for member, told in zip(self._fleet.members, self._told, strict=True):
            for result, count in member.counts.items():
                if count != told[result]:
                    UPSTREAM_ATTEMPTS.labels(member.key.name, result).inc(count - told[result])
                    told[result] = count
        turns = self._fleet.turns
        UPSTREAM_WAITING_CALLS.set(turns.waiting_count)
        UPSTREAM_WAITED_CALLS.inc(turns.waited_total - self._waited)
        UPSTREAM_QUOTA_REFUSALS.inc(turns.refused_total - self._refused)
        self._waited, self._refused = turns.waited_total, turns.refused_total
