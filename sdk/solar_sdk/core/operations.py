"""Every request the SDK can make, as a value: where it goes, what it carries, how its answer is read.

A new endpoint is one function here and one thin method on each client. Defaults: model `solar-pro4` (contract, section
4); embeddings `solar-embedding-2-passage` (generation 1 ends 2026-12-31 UTC, upstage-api.md section 5).
Raises InvalidRequestError where a request cannot be built.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any, Generic, Literal, TypedDict, TypeVar

from .. import replies, views
from ..errors import InvalidRequestError
from .wire import Json

DEFAULT_CHAT_MODEL = "solar-pro4"
DEFAULT_EMBEDDING_MODEL = "solar-embedding-2-passage"

UsageGroup = Literal["day", "model", "key"]
_T = TypeVar("_T")


class ChatOptions(TypedDict, total=False):
    """Options of `chat` beside the text and `stream`.

    messages          the whole conversation, instead of the one text
    model             default solar-pro4
    tools             functions the model may call, OpenAI's shape
    response_format   {"type": "json_object"} or {"type": "json_schema", ...}
    max_tokens        bound of the answer, reasoning included
    temperature       0 to 2
    reasoning_effort  none, low, medium, high, ... (per model)
    timeout_s         total seconds for this call, retries and stream included
    idempotency_key   your own key of this call, to repeat it safely from another process
    extra             further fields of the request body, as they are
    """

    messages: Sequence[Mapping[str, Any]]
    model: str
    tools: Sequence[Mapping[str, Any]]
    response_format: Mapping[str, Any]
    max_tokens: int
    temperature: float
    reasoning_effort: str
    timeout_s: float
    idempotency_key: str
    extra: Mapping[str, Any]


@dataclass(frozen=True)
class Operation(Generic[_T]):
    """One request. `model` is set where tokens are bought; `stream` where the answer is server-sent events."""

    method: Literal["GET", "POST"]
    path: str
    read: Callable[[Json, Mapping[str, str]], _T]
    query: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = field(default=None, repr=False)
    model: str | None = None
    stream: bool = False
    timeout_s: float | None = None
    idempotency_key: str | None = None


def chat(prompt: str | None, stream: bool, options: ChatOptions) -> Operation[replies.Reply]:
    messages = options.get("messages")
    if (prompt is None) == (messages is None):
        raise InvalidRequestError("Give chat() either a text or messages=[...].", code="invalid_request_body")
    model = options.get("model") or DEFAULT_CHAT_MODEL
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
        "model": model,
        "messages": [{"role": "user", "content": prompt}] if messages is None else list(messages),
        "stream": stream,
    }
    return Operation(
        "POST",
        "/chat/completions",
        replies.from_wire_reply,
        body=to_wire_body(body),
        model=model,
        stream=stream,
        timeout_s=options.get("timeout_s"),
        idempotency_key=options.get("idempotency_key"),
    )


def embed(
    texts: str | Sequence[str], model: str | None, timeout_s: float | None, idempotency_key: str | None
) -> Operation[replies.Embeddings]:
    model = model or DEFAULT_EMBEDDING_MODEL
    return Operation(
        "POST",
        "/embeddings",
        replies.from_wire_embeddings,
        body=to_wire_body({"model": model, "input": [texts] if isinstance(texts, str) else list(texts)}),
        model=model,
        timeout_s=timeout_s,
        idempotency_key=idempotency_key,
    )


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
        return json.dumps(body, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
    except (TypeError, ValueError) as error:
        raise InvalidRequestError(
            f"The request cannot be written as JSON: {error}.", code="invalid_request_body"
        ) from None


def _asked(**query: object) -> dict[str, str]:
    return {name: str(value) for name, value in query.items() if value is not None}
