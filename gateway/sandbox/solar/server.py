"""The simulated Solar as a bare ASGI application: keys, routing, records, and Upstage's errors for what is wrong.

Paths: /v1/… and the older /v1/solar/… alike; unknown path 404, wrong method 405, both without a body (upstage-api.md section
6, 2026-11-23). Keys: Bearer alone; x-api-key gets 401. Beside them, without a key: GET /_sim/truth?after=SEQ&limit=N,
GET /_sim/totals, POST /_sim/reset, POST /_sim/fault?key=KEY&does=FAULT (keys.py).
Request headers `x-sim` (a directive's words) and `x-sim-seed` (another answer to the
same request) are for direct calls. Bodies up to 64 MiB. Raises nothing; a Refusal becomes its answer.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs

import msgspec

from gateway.sandbox.solar.call import CREATED_S, Answer, Inbound
from gateway.sandbox.solar.keys import Keys
from gateway.sandbox.solar.limits import Headers, Window, retry_headers
from gateway.sandbox.solar.mind.models import listed_names
from gateway.sandbox.solar.refusals import Refusal, to_wire_body
from gateway.sandbox.solar.sending import HangUp, Receive, Send, Sent, send_body, send_stream, send_whole
from gateway.sandbox.solar.truth import PAGE_MAX, Record, Truth
from gateway.sandbox.solar.wire.chat import answer_chat
from gateway.sandbox.solar.wire.documents import answer_document
from gateway.sandbox.solar.wire.embeddings import answer_embeddings
from gateway.sandbox.solar.wire.extraction import answer_extraction
from gateway.sandbox.solar.wire.messages import answer_messages
from gateway.sandbox.solar.wire.responses import answer_responses
from gateway.sandbox.solar.wire.systemone import answer_systemone

BODY_BYTES_MAX = 64 * 1024 * 1024
Scope = dict[str, Any]
WireFormat = Callable[[Inbound], Answer]

POST_FORMATS: dict[str, WireFormat] = {
    "/chat/completions": answer_chat,
    "/embeddings": answer_embeddings,
    "/responses": answer_responses,
    "/messages": answer_messages,
    "/systemone": answer_systemone,
    "/document-digitization": answer_document,
    "/information-extraction": answer_extraction,
}
ANTHROPIC_PATH = "/messages"


@dataclass(slots=True)
class _Call:
    """One request on its way."""

    path: str
    key: str
    inbound: Inbound
    record: Record
    receive: Receive
    send: Send
    abort: Callable[[], None] | None
    headers: Headers = field(default_factory=list)

    @property
    def anthropic(self) -> bool:
        """Whether it speaks the Anthropic shape."""
        return self.path == ANTHROPIC_PATH


async def _read_body(receive: Receive) -> bytes:
    """The whole body; Refusal 413 above the bound."""
    message = await receive()
    body: bytes = message.get("body", b"")
    pieces = [body]
    size = len(body)
    while message.get("more_body"):
        message = await receive()
        pieces.append(message.get("body", b""))
        size += len(pieces[-1])
        if size > BODY_BYTES_MAX:
            raise Refusal(413, "invalid_request_body", f"the body is larger than {BODY_BYTES_MAX} bytes")
    return b"".join(pieces) if len(pieces) > 1 else body


def _relative(path: str) -> str:
    """The path below the API's base, or an empty string."""
    for base in ("/v1/solar/", "/v1/"):
        if path.startswith(base):
            return path[len(base) - 1 :]
    return ""


class Simulator:
    """The ASGI application."""

    def __init__(self, keys: Keys, truth: Truth, window: Window, retired: frozenset[str] = frozenset()) -> None:
        self._keys = keys
        self._truth = truth
        self._window = window
        self._retired = retired

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        path, method = scope["path"], scope["method"]
        if path.startswith("/_sim/"):
            await self._admin(scope, send)
            return
        relative = _relative(path)
        wanted = "POST" if relative in POST_FORMATS else "GET" if relative == "/models" else None
        if wanted != method:
            await send_body(send, 405 if wanted else 404, [], b"")
            return
        headers = {name: value.decode("latin-1") for name, value in scope["headers"]}
        try:
            key = self._keys.check(headers.get(b"authorization", ""))
        except Refusal as refusal:
            now_s = int(time.time())
            shown = self._window.headers("", "", 0, now_s)
            body = to_wire_body(refusal, anthropic=relative == ANTHROPIC_PATH)
            await send_body(send, refusal.status, shown, body)
            return
        if method == "GET":
            await self._models(send, key)
            return
        inbound = Inbound(
            body=b"",
            content_type=headers.get(b"content-type", ""),
            seed=headers.get(b"x-sim-seed", "").encode(),
            header_words=headers.get(b"x-sim", ""),
            retired=self._retired,
        )
        abort = scope.get("extensions", {}).get("sandbox.abort")
        await self._post(_Call(relative, key, inbound, Record(path=path), receive, send, abort))

    async def _post(self, call: _Call) -> None:
        self._truth.in_flight += 1
        try:
            call.inbound.body = await _read_body(call.receive)
            await self._answer(call)
        except Refusal as refusal:
            await self._refuse(call, refusal)
        finally:
            self._truth.in_flight -= 1
            self._note_call(call)

    def _note_call(self, call: _Call) -> None:
        call.record.key = call.key
        call.record.id = call.inbound.steer.id
        call.record.model = call.inbound.asked
        self._truth.add(call.record)

    async def _answer(self, call: _Call) -> None:
        if self._keys.drops(call.key) and call.abort is not None:
            call.abort()
            return
        answer = POST_FORMATS[call.path](call.inbound)
        steer = call.inbound.steer
        now_s = int(time.time())
        call.record.snapshot = answer.snapshot
        self._window.take(call.key, answer.snapshot, now_s)
        call.headers = self._window.headers(call.key, answer.snapshot, answer.tokens_per_minute, now_s)
        hang_up = HangUp(call.receive) if answer.events is not None or steer.delay_ms else None
        try:
            if hang_up is not None and steer.delay_ms:
                await hang_up.pause(steer.delay_ms)
            if steer.drop and call.abort is not None:
                call.abort()
                sent = Sent(outcome="cut")
            elif steer.error_status and steer.error_after is None and self._owes_error(call):
                raise steer.refusal()
            elif hang_up is not None and hang_up.gone:
                sent = Sent(outcome="client_gone")
            elif answer.events is None or hang_up is None:
                sent = await send_whole(call.send, answer, steer, call.headers)
            else:
                parts = (call.send, hang_up, answer, steer, call.headers)
                sent = await send_stream(*parts, anthropic=call.anthropic)
        finally:
            if hang_up is not None:
                hang_up.close()
        _fill(call.record, answer, sent)

    def _owes_error(self, call: _Call) -> bool:
        return self._truth.owes_error(call.inbound.steer.id, call.inbound.steer.error_times)

    async def _refuse(self, call: _Call, refusal: Refusal) -> None:
        now_s = int(time.time())
        record = call.record
        record.outcome, record.status, record.code = "refused", refusal.status, refusal.code
        shown = call.headers or self._window.headers(call.key, record.snapshot, 0, now_s)
        body = to_wire_body(refusal, anthropic=call.anthropic)
        await send_body(call.send, refusal.status, shown + retry_headers(refusal, now_s), body)

    async def _models(self, send: Send, key: str) -> None:
        rows = [
            {"id": name, "object": "model", "created": CREATED_S, "owned_by": "upstage"}
            for name in listed_names(self._retired)
        ]
        headers = self._window.headers(key, "", 0, int(time.time()))
        await send_body(send, 200, headers, msgspec.json.encode({"object": "list", "data": rows}))

    async def _admin(self, scope: Scope, send: Send) -> None:
        route = (scope["method"], scope["path"])
        query = parse_qs(scope["query_string"].decode("latin-1"))
        numbers = [query.get("after", ["0"])[-1], query.get("limit", [str(PAGE_MAX)])[-1]]
        if route == ("GET", "/_sim/truth") and all(text.isdigit() for text in numbers):
            body: dict[str, Any] = self._truth.page(int(numbers[0]), int(numbers[1]))
        elif route == ("GET", "/_sim/totals"):
            body = self._truth.totals()
        elif route == ("POST", "/_sim/reset"):
            self._truth.reset()
            body = {}
        elif route == ("POST", "/_sim/fault") and self._keys.set_fault(
            query.get("key", [""])[-1], query.get("does", [""])[-1]
        ):
            body = {}
        else:
            await send_body(send, 404, [], b"")
            return
        await send_body(send, 200, [], msgspec.json.encode(body))


def _fill(record: Record, answer: Answer, sent: Sent) -> None:
    """Puts the counts of an answer into its record."""
    record.prompt_tokens, record.cached_tokens = answer.usage.prompt, answer.usage.cached
    record.completion_tokens, record.reasoning_tokens = sent.completion, sent.reasoning
    record.total_tokens = answer.usage.prompt + sent.completion
    record.pages = answer.pages
    record.streamed = answer.events is not None
    record.status, record.outcome, record.events_sent, record.usage_sent = 200, sent.outcome, sent.events, sent.usage
