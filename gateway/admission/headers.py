"""Limits as response headers (`x-ratelimit-…`, design.md section 3). Pure. `reset` in seconds, as `1.234s`."""

from __future__ import annotations

from collections.abc import Sequence


def to_wire_limits(limits: Sequence[int]) -> dict[str, str]:
    """[requests limit, remaining, reset_ms, tokens limit, remaining, reset_ms]; −1 for no such limit → headers."""
    requests_limit, requests, requests_ms, tokens_limit, tokens, tokens_ms = limits
    headers: dict[str, str] = {}
    if requests_limit >= 0:
        headers["x-ratelimit-limit-requests"] = str(requests_limit)
        headers["x-ratelimit-remaining-requests"] = str(requests)
        headers["x-ratelimit-reset-requests"] = _to_wire_seconds(requests_ms)
    if tokens_limit >= 0:
        headers["x-ratelimit-limit-tokens"] = str(tokens_limit)
        headers["x-ratelimit-remaining-tokens"] = str(tokens)
        headers["x-ratelimit-reset-tokens"] = _to_wire_seconds(tokens_ms)
    return headers


def _to_wire_seconds(ms: int) -> str:
    return f"{ms // 1000}.{ms % 1000:03d}s"
