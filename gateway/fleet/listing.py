"""The fleet as an operator sees it: each key's health and quotas, as this worker knows them. No secret is in it."""

from __future__ import annotations

from typing import Any

from gateway.fleet.fleet import Fleet
from gateway.fleet.member import Member


def to_wire_fleet(fleet: Fleet) -> list[dict[str, Any]]:
    """One row a key, in the order of the setting; seconds are spans from now."""
    now_s = fleet.now()
    return [_to_wire_member(member, now_s) for member in fleet.members]


def _to_wire_member(member: Member, now_s: float) -> dict[str, Any]:
    breaker = member.breaker
    return {
        "name": member.key.name,
        "base_url": member.key.base_url,
        "weight": member.key.weight,
        "health": breaker.health.value,
        "reason": breaker.reason or None,
        "out_for_s": None if member.healthy else round(now_s - breaker.since_s, 1),
        "attempts": dict(member.counts),
        "models": [
            {
                "model": model,
                "closed_for_s": max(0.0, round(quota.closed_until_s - now_s, 1)),
                "in_flight": quota.in_flight,
                "used_requests": quota.used(now_s)[0],
                "used_tokens": quota.used(now_s)[1],
                "shown_requests": quota.shown.requests or None,
                "shown_tokens": quota.shown.tokens or None,
                "window_s": quota.shown.span_s,
            }
            for model, quota in sorted(member.quotas.items())
        ],
    }
