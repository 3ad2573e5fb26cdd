"""Upstage's rate-limit headers, and if asked for, a limit of requests per minute that is really kept.

Names and meaning: upstage-api.md section 6 (2026-11-23): Reset is Unix seconds; only a 429 adds Retry-After, Unix seconds
too; counters are per key and model; Remaining-Tokens was seen not to fall under load, and does not here. Interval (60) is
assumed to be seconds. The clock is an argument. Raises Refusal (429 too_many_requests) where the limit is kept.
"""

from collections.abc import Mapping

from gateway.sandbox.solar.refusals import Refusal

Headers = list[tuple[bytes, bytes]]
WINDOW_S = 60
SHOWN_REQUESTS_PER_MINUTE = 100
_PREFIX = b"x-upstage-ratelimit-"


class Window:
    """How many requests each key sent to each model in the running minute."""

    def __init__(
        self, requests_per_minute: int = 0, *, by_key: Mapping[str, int] | None = None, window_s: int = WINDOW_S
    ) -> None:
        """Requests in each window, which is a minute unless a test is in a hurry; `by_key` where keys differ.

        0: shown in the headers as tier 0 has it, and not kept.
        """
        self._kept = requests_per_minute
        self._by_key = dict(by_key or {})
        self._window_s = window_s
        self._minute = 0
        self._used: dict[tuple[str, str], int] = {}

    def take(self, key: str, snapshot: str, now_s: int) -> None:
        """Counts one request; refuses it above a limit that is kept."""
        if now_s // self._window_s != self._minute:
            self._minute = now_s // self._window_s
            self._used.clear()
        used, kept = self._used.get((key, snapshot), 0), self._by_key.get(key, self._kept)
        if kept and used >= kept:
            retry_after_s = (self._minute + 1) * self._window_s - now_s
            raise Refusal(429, "too_many_requests", "Rate limit reached for requests", retry_after_s=retry_after_s)
        self._used[key, snapshot] = used + 1

    def headers(self, key: str, snapshot: str, tokens_per_minute: int, now_s: int) -> Headers:
        """The headers of every reply."""
        shown = self._by_key.get(key, self._kept) or SHOWN_REQUESTS_PER_MINUTE
        left = max(0, shown - self._used.get((key, snapshot), 0))
        reset = b"%d" % ((now_s // self._window_s + 1) * self._window_s)
        tokens, interval = b"%d" % tokens_per_minute, b"%d" % self._window_s
        return [
            (_PREFIX + b"limit-requests", b"%d" % shown),
            (_PREFIX + b"remaining-requests", b"%d" % left),
            (_PREFIX + b"reset-requests", reset),
            (_PREFIX + b"interval-requests", interval),
            (_PREFIX + b"limit-tokens", tokens),
            (_PREFIX + b"remaining-tokens", tokens),
            (_PREFIX + b"reset-tokens", reset),
            (_PREFIX + b"interval-tokens", interval),
        ]


def retry_headers(refusal: Refusal, now_s: int) -> Headers:
    """What a 429 adds."""
    if refusal.status != 429:
        return []
    at = b"%d" % (now_s + (refusal.retry_after_s or 0))
    return [(_PREFIX + b"retry-after-requests", at), (_PREFIX + b"retry-after-tokens", at)]
