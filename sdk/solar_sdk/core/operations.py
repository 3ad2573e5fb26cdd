"""Every request the SDK can make, as a value: where it goes, what it carries, how its answer is read.

A new endpoint is one function here and one thin method on each client. Defaults: model `solar-pro4` (contract, section
4); embeddings `solar-embedding-2-passage` (generation 1 ends 2026-12-31 UTC, upstage-api.md section 5).
Raises InvalidRequestError where a request cannot be built.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from typing import Any, Generic, Literal, TypedDict, TypeVar

from ..answers import completions, replies, views
from ..errors import InvalidRequestError
from . import shapes
from .fold import ChatFold, Fold, ResponseFold
from .wire import Json

DEFAULT_CHAT_MODEL = "solar-pro4"
DEFAULT_EMBEDDING_MODEL = "solar-embedding-2-passage"

UsageGroup = Literal["day", "model", "key"]
_T = TypeVar("_T")


class CallOptions(TypedDict, total=False):
    """Options of any call.

    timeout_s         total seconds for this call, retries and stream included
    max_retries       further attempts after the first
    idempotency_key   your own key of this call, to repeat it safely from another process
    headers           further headers; the key's own header cannot be replaced
    """

    timeout_s: float
    max_retries: int
    idempotency_key: str
    headers: Mapping[str, str]


class ChatOptions(CallOptions, total=False):
    """Options of `chat` beside the text and `stream`.

    messages          the whole conversation, instead of the one text
    model             default solar-pro4
    tools             functions the model may call, OpenAI's shape
    response_format   {"type": "json_object"} or {"type": "json_schema", ...}; for a type of your own use `parse`
    max_tokens        bound of the answer, reasoning included
    temperature       0 to 2
    reasoning_effort  none, low, medium, high, ... (per model)
    extra             further fields of the request body, as they are
    """

    messages: Sequence[Any]
    model: str
    tools: Sequence[Mapping[str, Any]]
    response_format: Mapping[str, Any]
    max_tokens: int
    temperature: float
    reasoning_effort: str
    extra: Mapping[str, Any]


@dataclass(frozen=True)
class Operation(Generic[_T]):
    """One request. `model` is set where tokens are bought; `stream` where the answer is server-sent events."""

    method: Literal["GET", "POST"]
    path: str
    read: Callable[[Json, Mapping[str, str]], _T]
    query: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = field(default=None, repr=False)
    content_type: str = "application/json"
    model: str | None = None
    stream: bool = False
    fold: Callable[[str | None], Fold] = ChatFold
    options: CallOptions = field(default_factory=CallOptions)


def chat(prompt: str | None, stream: bool, options: ChatOptions) -> Operation[replies.Reply]:
    messages = options.get("messages")
    if (prompt is None) == (messages is None):
        raise InvalidRequestError("Give chat() either a text or messages=[...].", code="invalid_request_body")
    extra = dict(options.get("extra") or {})
    if stream:
        # The final reply needs usage and cost, which a stream tells only when it is asked.
        extra["stream_options"] = {"include_usage": True, **(extra.get("stream_options") or {})}
    named = {
        "tools": list(options.get("tools") or ()) or None,  # Solar refuses an empty list
        "response_format": options.get("response_format"),
        "max_tokens": options.get("max_tokens"),
        "temperature": options.get("temperature"),
        "reasoning_effort": options.get("reasoning_effort"),
    }
    body = {
        **extra,
        **{name: value for name, value in named.items() if value is not None},
        "model": options.get("model") or DEFAULT_CHAT_MODEL,
        "messages": [{"role": "user", "content": prompt}] if messages is None else list(messages),
        "stream": stream,
    }
    return _asks("/chat/completions", body, replies.from_wire_reply, options, stream=stream)


def parse(prompt: str | None, into: type[_T], options: ChatOptions) -> Operation[replies.Parsed[_T]]:
    asked = chat(prompt, False, {**options, "response_format": shapes.to_wire_response_format(into)})

    def read(completion: Json, headers: Mapping[str, str]) -> replies.Parsed[_T]:
        reply = replies.from_wire_reply(completion, headers)
        return replies.Parsed(shapes.from_wire_text(reply.text, into), reply)

    return replace(asked, read=read)  # type: ignore[arg-type,return-value]  # the same request, read further


def completion(body: Json, options: CallOptions) -> Operation[completions.ChatCompletion]:
    """A chat in openai's shape, whole."""
    return _asks("/chat/completions", body, completions.from_wire_completion, options)


def completion_stream(body: Json, options: CallOptions) -> Operation[replies.Reply]:
    """A chat in openai's shape, streamed; its usage is always asked for, so that meters can count it."""
    asked = {**body, "stream": True, "stream_options": {**(body.get("stream_options") or {}), "include_usage": True}}
    return _asks("/chat/completions", asked, replies.from_wire_reply, options, stream=True)


def response(body: Json, options: CallOptions, *, stream: bool) -> Operation[replies.ResponseReply]:
    asked = {**body, **({"stream": True} if stream else {})}
    operation = _asks("/responses", asked, replies.from_wire_response, options, stream=stream)
    return replace(operation, fold=ResponseFold)


def embed(texts: str | Sequence[str], model: str | None, options: CallOptions) -> Operation[replies.Embeddings]:
    body = {"model": model or DEFAULT_EMBEDDING_MODEL, "input": [texts] if isinstance(texts, str) else list(texts)}
    return _asks("/embeddings", body, replies.from_wire_embeddings, options)


def document(form: bytes, content_type: str, model: str, options: CallOptions) -> Operation[replies.Document]:
    """A form that `core.uploads` made."""
    path, read = "/document-digitization", replies.from_wire_document
    return Operation("POST", path, read, body=form, content_type=content_type, model=model, options=options)


def extract(
    document_uri: str, schema: Mapping[str, Any], model: str, options: CallOptions
) -> Operation[replies.Parsed[Any]]:
    """What a schema asks for, out of a document; the value is decoded JSON."""
    body = {
        "model": model,
        "messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": document_uri}}]}],
        "response_format": {"type": "json_schema", "json_schema": {"name": "document", "schema": dict(schema)}},
    }

    def read(answer: Json, headers: Mapping[str, str]) -> replies.Parsed[Any]:
        reply = replies.from_wire_reply(answer, headers)
        return replies.Parsed(json.loads(reply.text), reply)

    return _asks("/information-extraction", body, read, options)


def raw(
    method: Literal["GET", "POST"], path: str, body: Mapping[str, Any] | None, options: CallOptions
) -> Operation[replies.RawAnswer]:
    """Any path of the gateway. `read` is never asked: the client hands the answer over as it came."""
    if not path.startswith("/") or ".." in path:
        raise InvalidRequestError("A path begins with a slash and follows /v1.", code="invalid_request_body")
    written = None if body is None else to_wire_body(body)
    model = str(body["model"]) if body is not None and "model" in body else None
    return Operation(method, path, unread, body=written, model=model, options=options)


def models() -> Operation[views.Page[views.Model]]:
    return Operation("GET", "/models", views.from_wire_models)


def usage(from_: date | str | None, to: date | str | None, group_by: UsageGroup | None) -> Operation[views.UsageReport]:
    query = _asked(**{"from": from_}, to=to, group_by=group_by)
    return Operation("GET", "/usage", views.from_wire_usage_report, query=query)


def account() -> Operation[views.Account]:
    return Operation("GET", "/account", views.from_wire_account)


def invoices(month: str | None, after: str | None) -> Operation[views.Page[views.Invoice]]:
    return Operation("GET", "/invoices", views.from_wire_invoices, query=_asked(month=month, after=after))


def shares(month: str | None, after: str | None) -> Operation[views.Page[views.Share]]:
    return Operation("GET", "/shares", views.from_wire_shares, query=_asked(month=month, after=after))


def to_wire_body(body: Mapping[str, Any]) -> bytes:
    try:
        text = json.dumps(body, ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=_to_wire_message)
        return text.encode()
    except (TypeError, ValueError) as error:
        raise InvalidRequestError(
            f"The request cannot be written as JSON: {error}.", code="invalid_request_body"
        ) from None


def _to_wire_message(value: object) -> Json:
    """An answer's message put back into the conversation, as it came."""
    if isinstance(value, completions.CompletionMessage):
        return value.raw
    raise TypeError(f"a {type(value).__name__} is no JSON")


def _asks(
    path: str,
    body: Json,
    read: Callable[[Json, Mapping[str, str]], _T],
    options: CallOptions,
    *,
    stream: bool = False,
) -> Operation[_T]:
    model = str(body.get("model", ""))
    return Operation("POST", path, read, body=to_wire_body(body), model=model, stream=stream, options=options)


def unread(answer: Json, headers: Mapping[str, str]) -> replies.RawAnswer:
    raise TypeError("a raw answer is handed over as it came")


def _asked(**query: object) -> dict[str, str]:
    return {name: str(value) for name, value in query.items() if value is not None}
