"""Limits as response headers (`x-ratelimit-…`, design.md section 3). Pure. `reset` in seconds, as `1.234s`."""

from __future__ import annotations

from collections.abc import Sequence


def to_wire_limits(limits: Sequence[int]) -> dict[str, str]:
    """[requests limit, remaining, reset_ms, tokens limit, remaining, reset_ms]; −1 for no such limit → headers."""
    headers: dict[str, str] = {}
    if limits[0] < 0 and limits[3] < 0:
        return headers
    for what, at in (("requests", 0), ("tokens", 3)):
        limit, remaining, reset_ms = limits[at : at + 3]
        if limit >= 0:
            headers[f"x-ratelimit-limit-{what}"] = str(limit)
            headers[f"x-ratelimit-remaining-{what}"] = str(remaining)
            headers[f"x-ratelimit-reset-{what}"] = f"{reset_ms / 1000:.3f}s"
    return headers
