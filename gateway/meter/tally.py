"""Keeps count of one stream: which events pass, which wait, what was used. Pure.

A usage event waits until the stream's end, because it may leave only after the settlement; usage that comes again replaces it. Keep-alive
comments and all other events pass as they are.
"""

from __future__ import annotations

import re
from decimal import Decimal

from billing.usage import Usage
from gateway.call import Call, Outcome
from gateway.meter.count import Answer, UsageBlock, read_answer
from gateway.meter.estimate import output_tokens_best
from gateway.meter.usage_event import with_cost, without_usage
from gateway.meter.wires import Wire

_DONE = b"[DONE]"
_USAGE_BLOCK = re.compile(rb'"usage"\s*:\s*(\{(?:[^{}]|\{[^{}]*\})*\})')
_NULL_USAGE = re.compile(rb',\s*"usage"\s*:\s*null')
_TAIL_BYTES = 64 * 1024
_UNCOUNTED_MAX_BYTES = 64 * 1024


class StreamTally:
    """The meter of one stream (or of an answer too large to hold)."""

    def __init__(self, call: Call, wire: Wire, *, usage_wanted: bool) -> None:
        self._call = call
        self._wire = wire
        self._usage_wanted = usage_wanted or wire.usage_is_native
        self._block = UsageBlock()
        self._counted = False
        self._model: str | None = None
        self._waiting: list[bytes] = []
        self._usage_event: tuple[bytes, bytes, Answer] | None = None
        self._event_count = 0
        self._text_bytes = 0
        self.uncounted: list[bytes] = []
        """What was let through and not looked at yet; the frames of chunks may be between."""
        self._uncounted_bytes = 0
        self.markers = (*wire.markers, _DONE)
        self._finished = False
        self._failed = False
        self._tail = b""
        self.ended = False

    def lets_through(self, events: bytes) -> bool:
        """Whole events that say nothing about usage, an end or an error: they pass as they are, and are counted later.

        So it is with nearly all; only the text of a stream that breaks off is ever needed. False where `pass_on` must look at each.
        """
        if not self.is_plain:
            return False
        for marker in self.markers:
            if marker in events:
                return False
        self.uncounted.append(events)
        self._uncounted_bytes += len(events)
        if self._uncounted_bytes > _UNCOUNTED_MAX_BYTES:
            self._count_text()
        return True

    @property
    def is_plain(self) -> bool:
        """May events without a marker pass as they are?"""
        return self._model is not None and self._usage_event is None and not self.ended

    def let_through(self, events_bytes: int) -> None:
        """So many bytes of events without a marker were put into `uncounted`, and have passed."""
        self._uncounted_bytes += events_bytes

    def _count_text(self) -> None:
        """Count what was let through."""
        if not self.uncounted:
            return
        waiting = b"".join(self.uncounted)
        self.uncounted.clear()
        self._uncounted_bytes = 0
        wire = self._wire
        self._finished = self._finished or wire.finished.search(waiting) is not None
        pieces = wire.text.findall(waiting)
        if pieces:  # one in each event that has any, nearly always; this is a count for what breaks off
            self._event_count += min(len(pieces), waiting.count(b"\n\n"))
            self._text_bytes += sum(map(len, pieces))

    def _count_event(self, pieces: list[bytes]) -> None:
        if pieces:
            self._event_count += 1
            self._text_bytes += sum(map(len, pieces))

    def pass_on(self, events: list[bytes]) -> bytes:
        """Take the next events; returns what may go to the client now."""
        passed: list[bytes] = []
        for event in events:
            if self._failed:
                break
            payload = _payload_of(event)
            if self.ended or payload == _DONE:
                self.ended = True
                self._waiting.append(event)
            elif self._usage_event is not None and (not payload or self._wire.idle.search(event)):
                self._waiting.append(event)  # a keep-alive does not overtake the usage event
            elif payload:
                passed.extend(self._take(event, payload))
            else:
                passed.append(event)
        return b"".join(passed)

    def pass_on_rest(self, rest: bytes) -> None:
        """What came after the last empty line: a last event without one, a piece of one (which nobody could read), or nothing."""
        payload = _payload_of(rest)
        if payload == _DONE or read_answer(payload) is not None:
            passed = self.pass_on([rest])
            if passed:
                self._waiting.append(passed)

    def _take(self, event: bytes, payload: bytes) -> list[bytes]:
        """Count an event with data; returns what passes now (usage waits for the end, an error ends the stream)."""
        wire = self._wire
        looks = self._model is None or any(marker in event for marker in wire.markers)
        answer = read_answer(payload) if looks else None
        look = None if answer is None else wire.look(answer)
        if look is not None and look.fails:
            self._failed = self.ended = True
            return []
        self._count_event(wire.text.findall(event))
        self._finished = self._finished or wire.finished.search(event) is not None
        passed = [] if look is not None and look.ends else self._superseded()
        if answer is None or look is None:
            return [*passed, event]
        self._model = self._model or _model_of(answer)
        if answer.usage is None and not self._usage_wanted:
            event = _NULL_USAGE.sub(b"", event)
        if look.block is not None:
            self._block = self._block.joined_with(look.block)
        if look.is_usage:
            self._counted = wire.usage_of(self._block) is not None
            self._usage_event = (event, payload, answer)
        elif look.ends:
            self._waiting.append(event)
        else:
            passed.append(event)
        self.ended = self.ended or look.ends
        return passed

    def _superseded(self) -> list[bytes]:
        """A usage event after which the stream went on was not the last word: it goes first, without a cost."""
        if self._usage_event is None:
            return []
        event, payload, answer = self._usage_event
        before = event if self._usage_wanted else without_usage(event, payload, has_choices=bool(answer.choices))
        passed = [before, *self._waiting]
        self._usage_event, self._waiting = None, []
        return passed

    @property
    def output_tokens_seen(self) -> int:
        """The likely count of what has passed."""
        self._count_text()
        return output_tokens_best(self._event_count, self._text_bytes)

    @property
    def output_tokens_at_most(self) -> int:
        """What that count cannot be above: it may be had without counting."""
        return output_tokens_best(self._event_count, self._text_bytes) + self._uncounted_bytes

    @property
    def input_tokens_told(self) -> int:
        """What upstream said of the prompt before the end of the stream (messages does); −1 = nothing."""
        usage = self._wire.usage_of(self._block)
        return -1 if usage is None else usage.input_tokens + usage.cached_input_tokens

    def output_tokens_with(self, event: bytes) -> int:
        """The likely count if this event passed as well."""
        self._count_text()
        pieces = self._wire.text.findall(event)
        return output_tokens_best(self._event_count + bool(pieces), self._text_bytes + sum(map(len, pieces)))

    @property
    def broke_off(self) -> bool:
        """Upstream stopped without having finished: no [DONE], no usage, no finish reason; or it sent an error."""
        self._count_text()
        return self._failed or not (self.ended or self._finished or self._counted)

    @property
    def said_nothing(self) -> bool:
        """It broke off before any output, and without a count: upstream did not serve it."""
        self._count_text()
        return self.broke_off and not self._event_count and not self._counted

    def outcome(self, why_estimated: str, attempts: int) -> Outcome:
        """What was used: upstream's own count if it came, else the best estimate, marked with why."""
        usage = self._wire.usage_of(self._block)
        if self._counted and usage is not None:
            return Outcome(usage, self._model, None, attempts)
        self._count_text()
        output = min(self._call.output_tokens_max, output_tokens_best(self._event_count, self._text_bytes))
        if self.ended and not self._failed:
            why_estimated = "no usage in the stream"
        # A format that tells the input at the start (messages) leaves only the output to be estimated.
        known = usage or Usage(self._call.prompt_tokens_best)
        usage = Usage(known.input_tokens, known.cached_input_tokens, max(known.output_tokens, output))
        return Outcome(usage, self._model, why_estimated, attempts)

    def last_words(self, cost_usd: Decimal | None) -> bytes:
        """The usage event as the client may see it, and the end of the stream."""
        words: list[bytes] = []
        if self._usage_event is not None:
            event, payload, answer = self._usage_event
            if self._usage_wanted:
                words.append(with_cost(event, payload, cost_usd))
            else:
                words.append(without_usage(event, payload, has_choices=bool(answer.choices)))
        end = b"".join(words + self._waiting)
        # An error event that follows must begin on a line of its own.
        return end + b"\n\n" if self.broke_off and end and not end.endswith((b"\n\n", b"\n\r\n")) else end

    # ---- answers too large to hold ------------------------------------------------------------------------------------------

    def saw_tail(self, piece: bytes) -> None:
        self._tail = (self._tail + piece)[-_TAIL_BYTES:]

    def outcome_of_tail(self, attempts: int) -> Outcome:
        """The usage block stands at the end of an answer, after what makes it large."""
        blocks = _USAGE_BLOCK.findall(self._tail)
        answer = read_answer(b'{"usage":' + blocks[-1] + b"}") if blocks else None
        usage = self._wire.usage_of(answer.usage) if answer is not None and answer.usage is not None else None
        if usage is not None:
            return Outcome(usage, None, None, attempts)
        return self.outcome("no usage in the answer", attempts)


def outcome_of_whole(call: Call, wire: Wire, body: bytes, attempts: int) -> Outcome:
    """What a whole answer used: as it says, or the best estimate where it does not say."""
    answer = read_answer(body)
    model = None if answer is None else _model_of(answer)
    block = None if answer is None else answer.usage
    if answer is not None and block is None and answer.billed_pages is not None:
        block = UsageBlock(pages=answer.billed_pages)
    usage = None if block is None else wire.usage_of(block)
    if usage is not None:
        return Outcome(usage, model, None, attempts)
    if call.pages_best:
        return Outcome(Usage(standard_pages=call.pages_best), model, "pages counted in the request", attempts)
    output = min(call.output_tokens_max, output_tokens_best(0, len(body)))
    return Outcome(Usage(call.prompt_tokens_best, 0, output), model, "no usage in the answer", attempts)


def _model_of(answer: Answer) -> str | None:
    inner = answer.response or (answer.message if not isinstance(answer.message, str) else None)
    return answer.model or (inner.model if inner is not None else None)


def _payload_of(event: bytes) -> bytes:
    """The data of an event: its `data:` lines, joined; empty for a comment."""
    payload = event[5:].strip() if event.startswith(b"data:") else b"\n"
    if b"\n" in payload or b"\r" in payload:
        payload = b"\n".join(line[5:].strip() for line in event.splitlines() if line.startswith(b"data:"))
    return payload
