"""What one key may still be asked for of one model: upstream's limits as far as they can be believed. Pure.

Upstage counts per key and model (upstage-api.md section 6, 2026-11-23). Its headers are hints: `Remaining-Tokens` was seen not to fall
under load, `-1` was seen, and a limit that is shown need not be kept. So `Remaining` is never read; what was sent is counted here, in
a window of our own, and the `Limit` that is shown helps to choose between keys, but holds no call back. A 429 does:
 - one alone may mean one call (a single huge prompt); a second one without an answer in between closes the door to all;
 - it stays closed until the instant that upstream names, at most `CLOSED_MAX_S`;
 - then it opens as a TCP connection starts: a few calls at once, one more for each that is answered, so that of many who wait few are
   sent in vain;
 - a 429 on the way closes it again at once; two whole windows without one, and it stands open.
Units: seconds on a steady clock, calls, tokens.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from gateway.fleet.window import Window

SPAN_S = 60.0
SPAN_MAX_S = 3600.0
CLOSED_MAX_S = 600.0
_STRIKES = 2
_LEARN_S = 1.0
_AT_ONCE = 8
_LOOK_S = 0.5
_QUIET_SPANS = 2
_PROBE_PAUSE_MAX_S = 60.0


class Shown(NamedTuple):
    """The limits that an answer's headers show; 0 = none."""

    requests: int = 0
    tokens: int = 0
    span_s: float = SPAN_S


def from_wire_limits(headers: Mapping[str, str]) -> Shown:
    """`X-Upstage-RateLimit-{Limit,Interval}-{Requests,Tokens}`, by lower-case names; what cannot be a limit is none."""
    span_s = _number(headers, "x-upstage-ratelimit-interval-requests")
    return Shown(
        _number(headers, "x-upstage-ratelimit-limit-requests"),
        _number(headers, "x-upstage-ratelimit-limit-tokens"),
        float(span_s) if 1 <= span_s <= SPAN_MAX_S else SPAN_S,
    )


def _number(headers: Mapping[str, str], name: str) -> int:
    text = headers.get(name, "")
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 12 else 0


class Quota:
    """One key's room for one model."""

    __slots__ = (
        "_at_once",
        "_calls",
        "_learnt_at_s",
        "_probe_pause_s",
        "_refused_at_s",
        "_strikes",
        "_tokens",
        "closed_until_s",
        "epoch",
        "gated",
        "in_flight",
        "probe_from_s",
        "shown",
    )

    def __init__(self) -> None:
        self.gated = False
        """Must `may_send` be asked? While False a call may go at once."""
        self.closed_until_s = 0.0
        self.epoch = 0
        """How often upstream has refused; a call remembers what it was when it was sent."""
        self.in_flight = 0
        """Calls sent and not yet answered."""
        self.shown = Shown()
        self._calls = Window(SPAN_S)
        self._tokens = Window(SPAN_S)
        self._at_once = _AT_ONCE
        self._strikes = 0
        self._refused_at_s = 0.0
        self._learnt_at_s = 0.0
        self.probe_from_s = 0.0
        self._probe_pause_s = _LEARN_S

    # ---- may it? ------------------------------------------------------------------------------------------------------------

    def may_send(self, now_s: float) -> bool:
        """May one more call go now?"""
        if not self.gated:
            return True
        if now_s < self.closed_until_s:
            return False
        if not self._strikes and now_s >= self._refused_at_s + _QUIET_SPANS * self.shown.span_s:
            self.gated = False
            return True
        return self.in_flight < self._at_once

    def opens_at(self, now_s: float) -> float:
        """When it may be asked again: once closed, when that ends; with as many under way as may be, when one of them is answered."""
        if not self.gated:
            return now_s
        return (
            self.closed_until_s if now_s < self.closed_until_s else now_s + (0.0 if self.may_send(now_s) else _LOOK_S)
        )

    def seems_open(self, now_s: float, tokens: int, sharers: int = 1) -> bool:
        """Has it room for so many tokens by the limits that are shown, believed or not, if so many workers send as much as this one?"""
        shown = self.shown
        if shown.requests and self._calls.count(now_s) * sharers >= shown.requests:
            return False
        return not shown.tokens or (self._tokens.count(now_s) + tokens) * sharers <= shown.tokens

    def probing(self, now_s: float) -> None:
        """Before callers are refused on upstream's word alone, one asks if it is still true; the next after a while, doubled each time."""
        self.probe_from_s = now_s + self._probe_pause_s
        self._probe_pause_s = min(2 * self._probe_pause_s, _PROBE_PAUSE_MAX_S)

    # ---- what happened ------------------------------------------------------------------------------------------------------

    def sent(self, now_s: float, tokens: int) -> None:
        self.in_flight += 1
        if now_s < self._calls.ends_s and now_s < self._tokens.ends_s:
            self._calls.newest += 1
            self._tokens.newest += tokens
        else:
            self._calls.add(now_s, 1)
            self._tokens.add(now_s, tokens)

    def corrected(self, tokens_more: int) -> None:
        """The tokens of a call turned out to be so many more (or fewer) than were counted: with the newest of them."""
        self._tokens.newest += tokens_more

    def ended(self) -> None:
        """A call was answered with an error, or not at all; it counts, for it may have been carried out."""
        self.in_flight -= 1

    def served(self, epoch: int) -> None:
        """A call sent in this epoch was answered. If that was after the last refusal, the door is open, whatever was said of it."""
        self.in_flight -= 1
        if self.gated:
            self._at_once += 1
            if epoch != self.epoch:
                return
            self.closed_until_s = 0.0
        self._strikes = 0
        self._probe_pause_s = _LEARN_S

    def refused(self, now_s: float, tokens: int, wait_s: float) -> None:
        """429 too_many_requests: the call was not carried out, and upstream says to wait so long."""
        self.in_flight -= 1
        self.uncounted(now_s, tokens)
        if not self._strikes:
            self.probe_from_s = now_s
        self._strikes += 1
        self.epoch += 1
        self._refused_at_s = now_s
        self._at_once = _AT_ONCE
        if self.gated or self._strikes >= _STRIKES:
            self.gated = True
            self.closed_until_s = max(self.closed_until_s, now_s + min(wait_s, CLOSED_MAX_S))

    def uncounted(self, now_s: float, tokens: int) -> None:
        """A call of so many tokens was not carried out after all."""
        self._calls.add(now_s, -1)
        self._tokens.add(now_s, -tokens)

    # ---- limits learnt ------------------------------------------------------------------------------------------------------

    def wants_to_learn(self, now_s: float) -> bool:
        """Headers are read now and then; they say the same in each answer."""
        return now_s >= self._learnt_at_s

    def learn(self, now_s: float, shown: Shown) -> None:
        self._learnt_at_s = now_s + _LEARN_S
        if shown.span_s != self.shown.span_s:
            self._calls, self._tokens = Window(shown.span_s), Window(shown.span_s)
        self.shown = shown

    def used(self, now_s: float) -> tuple[int, int]:
        """(calls, tokens) in the window now."""
        return self._calls.count(now_s), self._tokens.count(now_s)
