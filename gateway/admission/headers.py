"""Limits as response headers (`x-ratelimit-…`, design.md section 3). Pure. `reset` in seconds, as `1.234s`."""

from __future__ import annotations


def to_wire_limits(
    requests_limit: int, requests: int, requests_ms: int, tokens_limit: int, tokens: int, tokens_ms: int
) -> dict[str, str]:
    """(requests limit, remaining, reset_ms, tokens limit, remaining, reset_ms), as the script says it; −1 for no such limit → headers."""
    headers: dict[str, str] = {}
    if requests_limit >= 0:
        headers = {
            "x-ratelimit-limit-requests": f"{requests_limit}",
            "x-ratelimit-remaining-requests": f"{requests}",
            "x-ratelimit-reset-requests": f"{requests_ms / 1000:.3f}s",
        }
    if tokens_limit >= 0:
        headers["x-ratelimit-limit-tokens"] = f"{tokens_limit}"
        headers["x-ratelimit-remaining-tokens"] = f"{tokens}"
        headers["x-ratelimit-reset-tokens"] = f"{tokens_ms / 1000:.3f}s"
    return headers
