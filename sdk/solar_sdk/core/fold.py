"""Folds a stream: bytes in, events and pieces of text out, and at the end the whole answer.

Follows what Solar streams (upstage-api.md sections 3 and 4, 2026-11-23): usage may stand on any event or on none; a later empty tool name
never overwrites one that was told; an event may carry a top-level `error`. A chat ends with `[DONE]`, a response with
`response.completed`, `.incomplete` or `.failed`; a stream without its end was cut. What came before an error is handed out before it is
raised. Raises StreamInterruptedError, and BudgetExceededError where a cap ended the stream.
"""

import json
from abc import ABC, abstractmethod
from collections import deque
from typing import Any

from ..errors import SolarError, StreamInterruptedError
from . import wire
from .faults import from_wire_stream_error
from .sse import Event, EventDecoder, EventTooLargeError
from .wire import Json

DONE = "[DONE]"
_ENVELOPE = ("id", "created", "model", "system_fingerprint")
_RESPONSE_ENDS = ("response.completed", "response.incomplete", "response.failed")


class Fold(ABC):
    """What both kinds of streams do; the kinds differ in what an event means."""

    def __init__(self, call_id: str | None) -> None:
        self._call_id = call_id
        self._decoder = EventDecoder()
        self._taken: deque[tuple[Json, str]] = deque()
        self._error: SolarError | None = None
        self.done = False

    def take(self) -> tuple[Json, str] | None:
        """The next event and its piece of text ("" for none); None where more bytes are needed or, if `done`, where it is over."""
        if self._taken:
            return self._taken.popleft()
        if self._error is not None:
            raise self._error
        return None

    def feed(self, chunk: bytes) -> None:
        """Takes the next bytes of the body; empty bytes mean that the body has ended."""
        if not chunk:
            self.break_off("The stream ended without its end: the answer is not whole.", "stream_cut")
            return
        try:
            for event in self._decoder.feed(chunk):
                if not self.done and self._error is None:
                    self._read(event)
        except EventTooLargeError as error:
            self.break_off(f"The stream cannot be read: {error}.", "malformed_event")

    def break_off(self, message: str, code: str) -> None:
        """Ends the stream with an error, after what is still to be handed out."""
        if not self.done and self._error is None:
            self._error = StreamInterruptedError(message, code=code, call_id=self._call_id)

    @abstractmethod
    def completion(self) -> Json:
        """The stream as the one answer it would have been."""

    @abstractmethod
    def _take_event(self, event: Json) -> str:
        """Note what an event says; its piece of text, or ""."""

    def _read(self, event: Event) -> None:
        if event.data.strip() == DONE:
            self.done = True
            return
        try:
            decoded = wire.as_object(json.loads(event.data), "event")
            failed = decoded.get("error") if decoded.get("type") != "response.failed" else None
            if failed is not None or decoded.get("type") == "error":
                self._error = from_wire_stream_error(failed or decoded, self._call_id)
                return
            self._taken.append((decoded, self._take_event(decoded)))
        except (ValueError, SolarError):
            self.break_off("The stream holds an event that cannot be read.", "malformed_event")


class ResponseFold(Fold):
    """A stream of `/v1/responses`: its last event holds the whole response."""

    def __init__(self, call_id: str | None) -> None:
        super().__init__(call_id)
        self._response: Json = {}

    def completion(self) -> Json:
        return self._response

    def _take_event(self, event: Json) -> str:
        kind = wire.optional_text(event, "type") or ""
        if kind in _RESPONSE_ENDS:
            self._response = wire.optional_object(event, "response") or {}
            self.done = True
        return (wire.optional_text(event, "delta") or "") if kind == "response.output_text.delta" else ""


class ChatFold(Fold):
    """A stream of `/v1/chat/completions`: deltas that add up."""

    def __init__(self, call_id: str | None) -> None:
        super().__init__(call_id)
        self._envelope: Json = {"object": "chat.completion"}
        self._choices: dict[int, Json] = {}
        self._usage: Json | None = None

    def completion(self) -> Json:
        choices = [self._choices[index] for index in sorted(self._choices)]
        return {
            **self._envelope,
            "choices": [{**choice, "message": _closed_message(choice["message"])} for choice in choices],
            **({} if self._usage is None else {"usage": self._usage}),
        }

    def _take_event(self, event: Json) -> str:
        self._envelope.update({name: event[name] for name in _ENVELOPE if event.get(name) is not None})
        self._usage = wire.optional_object(event, "usage") or self._usage
        choices = wire.objects(event, "choices") if event.get("choices") else ()
        return "".join([self._take_choice(choice) for choice in choices])

    def _take_choice(self, delta_choice: Json) -> str:
        index = wire.count(delta_choice, "index")
        delta = wire.optional_object(delta_choice, "delta") or {}
        choice = self._choices.setdefault(
            index, {"index": index, "message": {"role": "assistant"}, "finish_reason": None}
        )
        choice["finish_reason"] = wire.optional_text(delta_choice, "finish_reason") or choice["finish_reason"]
        message = choice["message"]
        for name in ("content", "reasoning"):
            if piece := wire.optional_text(delta, name):
                message.setdefault(name, []).append(piece)
        for position, call in enumerate(wire.objects(delta, "tool_calls") if delta.get("tool_calls") else ()):
            _grow_tool_call(message.setdefault("tool_calls", {}), position, call)
        return (wire.optional_text(delta, "content") or "") if index == 0 else ""


def _grow_tool_call(calls: dict[int, Json], position: int, delta: Json) -> None:
    index = wire.optional_count(delta, "index")
    call = calls.setdefault(
        position if index is None else index, {"id": "", "type": "function", "name": "", "arguments": []}
    )
    function = wire.optional_object(delta, "function") or {}
    call["id"] = wire.optional_text(delta, "id") or call["id"]
    call["name"] = wire.optional_text(function, "name") or call["name"]
    call["arguments"].append(wire.optional_text(function, "arguments") or "")


def _closed_message(message: Json) -> Json:
    closed: dict[str, Any] = {"role": message["role"], "content": None}
    for name in ("content", "reasoning"):
        if name in message:
            closed[name] = "".join(message[name])
    if calls := message.get("tool_calls"):
        closed["tool_calls"] = [
            {
                "id": call["id"],
                "type": call["type"],
                "function": {"name": call["name"], "arguments": "".join(call["arguments"])},
            }
            for _, call in sorted(calls.items())
        ]
    return closed
