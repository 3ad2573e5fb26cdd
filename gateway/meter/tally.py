"""Keeps count of one stream: which events pass, which wait, what was used. Pure.

A usage event waits until the stream's end, because it may leave only after the settlement; usage that comes again replaces it. Keep-alive
comments and all other events pass as they are.
"""

from __future__ import annotations

import re
from decimal import Decimal

from billing.usage import Usage
from gateway.call import Call, Outcome
from gateway.meter.count import Answer, read_answer, usage_of
from gateway.meter.estimate import output_tokens_best
from gateway.meter.usage_event import with_cost, without_usage

_DONE = re.compile(rb"data:\s*\[DONE\]\s*\Z")
_USAGE = b'"usage"'
_ERROR = b'"error"'
_FINISHED = re.compile(rb'"finish_reason"\s*:\s*"')
_USAGE_BLOCK = re.compile(rb'"usage"\s*:\s*(\{(?:[^{}]|\{[^{}]*\})*\})')
_TAIL_BYTES = 64 * 1024


class StreamTally:
    """The meter of one stream (or of an answer too large to hold)."""

    def __init__(self, call: Call, *, usage_wanted: bool) -> None:
        self._call = call
        self._usage_wanted = usage_wanted
        self._usage: Usage | None = None
        self._model: str | None = None
        self._waiting: list[bytes] = []
        self._usage_event: tuple[bytes, bytes, Answer] | None = None
        self._event_count = 0
        self._text_bytes = 0
        self._finished = False
        self._failed = False
        self._tail = b""
        self.ended = False

    def pass_on(self, events: list[bytes]) -> bytes:
        """Take the next events; returns what may go to the client now."""
        passed: list[bytes] = []
        for event in events:
            if self._failed:
                break
            if _DONE.search(event):
                self.ended = True
                self._waiting.append(event)
            elif self._is_special(event):
                continue
            else:
                passed.extend(self._superseded())
                passed.append(event)
        return b"".join(passed)

    def pass_on_rest(self, rest: bytes) -> None:
        """What came after the last empty line: a last event without one, or nothing."""
        if rest.strip():
            passed = self.pass_on([rest])
            if passed:
                self._waiting.append(passed)

    def _is_special(self, event: bytes) -> bool:
        """Count an event; True where it does not pass now (usage waits, an error ends the stream)."""
        if not event.startswith(b":"):
            self._event_count += 1
            self._text_bytes += max(0, len(event) - 160)
        self._finished = self._finished or _FINISHED.search(event) is not None
        if self._model is None or _USAGE in event or _ERROR in event:
            payload = event[5:].strip() if event.startswith(b"data:") else b""
            answer = read_answer(payload)
            if answer is None:
                return False
            self._model = self._model or answer.model
            if answer.error is not None and answer.choices is None:
                self._failed = self.ended = True
                return True
            usage = usage_of(answer)
            if usage is not None:
                self._usage = usage
                self._usage_event = (event, payload, answer)
                return True
        return False

    def _superseded(self) -> list[bytes]:
        """A usage event after which the stream went on was not the last word: it goes first, without a cost."""
        if self._usage_event is None:
            return []
        event, payload, answer = self._usage_event
        self._usage_event = None
        return [event if self._usage_wanted else without_usage(event, payload, has_choices=bool(answer.choices))]

    @property
    def broke_off(self) -> bool:
        """Upstream stopped without having finished: no [DONE], no usage, no finish reason; or it sent an error."""
        return self._failed or not (self.ended or self._finished or self._usage is not None)

    def outcome(self, why_estimated: str, attempts: int) -> Outcome:
        """What was used: upstream's own count if it came, else the best estimate, marked with why."""
        if self._usage is not None:
            return Outcome(self._usage, self._model, None, attempts)
        output = min(self._call.output_tokens_max, output_tokens_best(self._event_count, self._text_bytes))
        if self.ended and not self._failed:
            why_estimated = "no usage in the stream"
        usage = Usage(self._call.prompt_tokens_best, 0, output)
        return Outcome(usage, self._model, why_estimated, attempts)

    def last_words(self, cost_usd: Decimal) -> bytes:
        """The usage event as the client may see it, and the end of the stream."""
        words: list[bytes] = []
        if self._usage_event is not None:
            event, payload, answer = self._usage_event
            if self._usage_wanted:
                words.append(with_cost(event, cost_usd))
            else:
                words.append(without_usage(event, payload, has_choices=bool(answer.choices)))
        return b"".join(words + self._waiting)

    # ---- answers too large to hold ------------------------------------------------------------------------------------------

    def saw_tail(self, piece: bytes) -> None:
        self._tail = (self._tail + piece)[-_TAIL_BYTES:]

    def outcome_of_tail(self, attempts: int) -> Outcome:
        """The usage block stands at the end of an answer, after what makes it large."""
        blocks = _USAGE_BLOCK.findall(self._tail)
        usage = usage_of(read_answer(b'{"usage":' + blocks[-1] + b"}")) if blocks else None
        if usage is not None:
            return Outcome(usage, None, None, attempts)
        return self.outcome("no usage in the answer", attempts)

    @staticmethod
    def estimate_whole(call: Call, body_bytes: int) -> Usage:
        """The best count of a whole answer that does not say what it used."""
        output = min(call.output_tokens_max, output_tokens_best(0, body_bytes))
        return Usage(call.prompt_tokens_best, 0, output)
