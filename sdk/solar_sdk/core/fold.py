"""Folds a chat stream: bytes in, pieces of text out, and at the end the whole completion.

Follows what Solar streams (upstage-api.md section 3, 2026-11-23): usage may stand on any event or on none; a later empty
tool name never overwrites one that was told; an event may carry a top-level `error`; `[DONE]` is the end, and a stream
without it was cut. Pieces that came before an error are handed out before it is raised.
Raises StreamInterruptedError, and BudgetExceededError where a cap ended the stream.
"""

import json
from collections import deque
from typing import Any

from ..errors import SolarError, StreamInterruptedError
from . import wire
from .faults import from_wire_stream_error
from .sse import Event, EventDecoder, EventTooLargeError
from .wire import Json

DONE = "[DONE]"
_ENVELOPE = ("id", "created", "model", "system_fingerprint")


class ChatFold:
    def __init__(self, call_id: str | None) -> None:
        self._call_id = call_id
        self._decoder = EventDecoder()
        self._pieces: deque[str] = deque()
        self._error: SolarError | None = None
        self._envelope: Json = {"object": "chat.completion"}
        self._choices: dict[int, Json] = {}
        self._usage: Json | None = None
        self.done = False

    def take(self) -> str | None:
        """The next piece of text; None where more bytes are needed or, if `done`, where the stream is over."""
        if self._pieces:
            return self._pieces.popleft()
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
                    self._take_event(event)
        except EventTooLargeError as error:
            self.break_off(f"The stream cannot be read: {error}.", "malformed_event")

    def break_off(self, message: str, code: str) -> None:
        """Ends the stream with an error, after the pieces that are still to be handed out."""
        if not self.done and self._error is None:
            self._error = StreamInterruptedError(message, code=code, call_id=self._call_id)

    def completion(self) -> Json:
        """The stream as the one completion it would have been."""
        choices = [self._choices[index] for index in sorted(self._choices)]
        return {
            **self._envelope,
            "choices": [{**choice, "message": _closed_message(choice["message"])} for choice in choices],
            **({} if self._usage is None else {"usage": self._usage}),
        }

    def _take_event(self, event: Event) -> None:
        if event.data.strip() == DONE:
            self.done = True
            return
        try:
            chunk = wire.as_object(json.loads(event.data), "event")
            if chunk.get("error") is not None:
                self._error = from_wire_stream_error(chunk["error"], self._call_id)
                return
            self._take_chunk(chunk)
        except (ValueError, SolarError):
            self.break_off("The stream holds an event that cannot be read.", "malformed_event")

    def _take_chunk(self, chunk: Json) -> None:
        self._envelope.update({name: chunk[name] for name in _ENVELOPE if chunk.get(name) is not None})
        self._usage = wire.optional_object(chunk, "usage") or self._usage
        for choice in wire.objects(chunk, "choices") if chunk.get("choices") else ():
            self._take_choice(choice)

    def _take_choice(self, delta_choice: Json) -> None:
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
                if name == "content" and index == 0:
                    self._pieces.append(piece)
        for position, call in enumerate(wire.objects(delta, "tool_calls") if delta.get("tool_calls") else ()):
            _grow_tool_call(message.setdefault("tool_calls", {}), position, call)


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
