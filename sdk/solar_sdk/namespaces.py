"""What hangs below a client: `client.chat("…")` and `client.chat.completions.create(...)`, `client.responses.create(...)`.

`chat.completions` has openai's shape, so that code written for openai runs with one import changed:
`from solar_sdk import Solar as OpenAI`. No I/O here: each gets the two ways in which its client sends. Raises the errors of the tree.
"""

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any, Literal, Protocol, Self, TypeVar, Unpack, overload

from .answers.completions import ChatCompletion, ChatCompletionChunk, from_wire_chunk
from .answers.replies import Reply, ResponseReply
from .core import operations
from .core.operations import DEFAULT_CHAT_MODEL, CallOptions, ChatOptions, Operation
from .network.streams import AsyncStream, Stream

_T = TypeVar("_T")
_Fields = Mapping[str, Any]


class Sender(Protocol):
    """How a sync client sends."""

    def whole(self, operation: Operation[_T]) -> _T: ...
    def stream(self, operation: Operation[_T]) -> Stream[_T]: ...


class AsyncSender(Protocol):
    """How an async client sends."""

    async def whole(self, operation: Operation[_T]) -> _T: ...
    async def stream(self, operation: Operation[_T]) -> AsyncStream[_T]: ...


class CompletionStream:
    """The chunks of a streamed completion. `reply` is the whole answer once they were all read."""

    def __init__(self, stream: Stream[Reply], usage_wanted: bool) -> None:
        self._stream = stream
        self._usage_wanted = usage_wanted

    def __iter__(self) -> Iterator[ChatCompletionChunk]:
        for event in self._stream.events():
            if self._usage_wanted or event.get("choices"):
                yield from_wire_chunk(event)

    @property
    def reply(self) -> Reply:
        return self._stream.reply

    def close(self) -> None:
        self._stream.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class AsyncCompletionStream:
    """The chunks of a streamed completion, with `async for`. `reply` is the whole answer once they were all read."""

    def __init__(self, stream: AsyncStream[Reply], usage_wanted: bool) -> None:
        self._stream = stream
        self._usage_wanted = usage_wanted

    async def __aiter__(self) -> AsyncIterator[ChatCompletionChunk]:
        async for event in self._stream.events():
            if self._usage_wanted or event.get("choices"):
                yield from_wire_chunk(event)

    @property
    def reply(self) -> Reply:
        return self._stream.reply

    async def close(self) -> None:
        await self._stream.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()


class Completions:
    """`client.chat.completions`."""

    def __init__(self, sender: Sender) -> None:
        self._sender = sender

    @overload
    def create(
        self, *, messages: Sequence[Any], model: str = ..., stream: Literal[False] = False, **fields: Any
    ) -> ChatCompletion: ...
    @overload
    def create(
        self, *, messages: Sequence[Any], model: str = ..., stream: Literal[True], **fields: Any
    ) -> CompletionStream: ...
    @overload
    def create(
        self, *, messages: Sequence[Any], model: str = ..., stream: bool, **fields: Any
    ) -> ChatCompletion | CompletionStream: ...
    def create(
        self, *, messages: Sequence[Any], model: str = DEFAULT_CHAT_MODEL, stream: bool = False, **fields: Any
    ) -> ChatCompletion | CompletionStream:
        """As openai's: `fields` go into the body; `timeout` (s), `extra_headers`, `extra_body`, `max_retries`, `idempotency_key` do not."""
        body, options, usage_wanted = _openai_body(messages, model, fields)
        if stream:
            return CompletionStream(self._sender.stream(operations.completion_stream(body, options)), usage_wanted)
        return self._sender.whole(operations.completion(body, options))


class AsyncCompletions:
    """`client.chat.completions` of an async client."""

    def __init__(self, sender: AsyncSender) -> None:
        self._sender = sender

    @overload
    async def create(
        self, *, messages: Sequence[Any], model: str = ..., stream: Literal[False] = False, **fields: Any
    ) -> ChatCompletion: ...
    @overload
    async def create(
        self, *, messages: Sequence[Any], model: str = ..., stream: Literal[True], **fields: Any
    ) -> AsyncCompletionStream: ...
    @overload
    async def create(
        self, *, messages: Sequence[Any], model: str = ..., stream: bool, **fields: Any
    ) -> ChatCompletion | AsyncCompletionStream: ...
    async def create(
        self, *, messages: Sequence[Any], model: str = DEFAULT_CHAT_MODEL, stream: bool = False, **fields: Any
    ) -> ChatCompletion | AsyncCompletionStream:
        """As openai's: `fields` go into the body; `timeout` (s), `extra_headers`, `extra_body`, `max_retries`, `idempotency_key` do not."""
        body, options, usage_wanted = _openai_body(messages, model, fields)
        if stream:
            opened = await self._sender.stream(operations.completion_stream(body, options))
            return AsyncCompletionStream(opened, usage_wanted)
        return await self._sender.whole(operations.completion(body, options))


class Chat:
    """`client.chat("…")` asks; `client.chat.completions` is the same in openai's shape."""

    def __init__(self, sender: Sender) -> None:
        self._sender = sender

    @property
    def completions(self) -> Completions:
        return Completions(self._sender)

    @overload
    def __call__(
        self, prompt: str | None = None, *, stream: Literal[False] = False, **options: Unpack[ChatOptions]
    ) -> Reply: ...
    @overload
    def __call__(
        self, prompt: str | None = None, *, stream: Literal[True], **options: Unpack[ChatOptions]
    ) -> Stream[Reply]: ...
    @overload
    def __call__(
        self, prompt: str | None = None, *, stream: bool, **options: Unpack[ChatOptions]
    ) -> Reply | Stream[Reply]: ...
    def __call__(
        self, prompt: str | None = None, *, stream: bool = False, **options: Unpack[ChatOptions]
    ) -> Reply | Stream[Reply]:
        """Asks the model; with `stream=True` the answer comes piece by piece. Options: see `ChatOptions`."""
        operation = operations.chat(prompt, stream, options)
        return self._sender.stream(operation) if stream else self._sender.whole(operation)


class AsyncChat:
    """`await client.chat("…")` asks; `client.chat.completions` is the same in openai's shape."""

    def __init__(self, sender: AsyncSender) -> None:
        self._sender = sender

    @property
    def completions(self) -> AsyncCompletions:
        return AsyncCompletions(self._sender)

    @overload
    async def __call__(
        self, prompt: str | None = None, *, stream: Literal[False] = False, **options: Unpack[ChatOptions]
    ) -> Reply: ...
    @overload
    async def __call__(
        self, prompt: str | None = None, *, stream: Literal[True], **options: Unpack[ChatOptions]
    ) -> AsyncStream[Reply]: ...
    @overload
    async def __call__(
        self, prompt: str | None = None, *, stream: bool, **options: Unpack[ChatOptions]
    ) -> Reply | AsyncStream[Reply]: ...
    async def __call__(
        self, prompt: str | None = None, *, stream: bool = False, **options: Unpack[ChatOptions]
    ) -> Reply | AsyncStream[Reply]:
        """Asks the model. Streams are awaited first: `async for piece in await client.chat("...", stream=True)`."""
        operation = operations.chat(prompt, stream, options)
        if stream:
            return await self._sender.stream(operation)
        return await self._sender.whole(operation)


class Responses:
    """`client.responses`: stateless responses, whole; `stream` gives pieces of text, its `events()` the typed events."""

    def __init__(self, sender: Sender) -> None:
        self._sender = sender

    def create(self, *, input: str | Sequence[Any], model: str = DEFAULT_CHAT_MODEL, **fields: Any) -> ResponseReply:
        body, options, _ = _openai_fields({"input": input, "model": model}, fields)
        return self._sender.whole(operations.response(body, options, stream=False))

    def stream(
        self,
        *,
        input: str | Sequence[Any],
        model: str = DEFAULT_CHAT_MODEL,
        **fields: Any,
    ) -> Stream[ResponseReply]:
        body, options, _ = _openai_fields({"input": input, "model": model}, fields)
        return self._sender.stream(operations.response(body, options, stream=True))


class AsyncResponses:
    """`client.responses` of an async client."""

    def __init__(self, sender: AsyncSender) -> None:
        self._sender = sender

    async def create(
        self,
        *,
        input: str | Sequence[Any],
        model: str = DEFAULT_CHAT_MODEL,
        **fields: Any,
    ) -> ResponseReply:
        body, options, _ = _openai_fields({"input": input, "model": model}, fields)
        return await self._sender.whole(operations.response(body, options, stream=False))

    async def stream(
        self,
        *,
        input: str | Sequence[Any],
        model: str = DEFAULT_CHAT_MODEL,
        **fields: Any,
    ) -> AsyncStream[ResponseReply]:
        body, options, _ = _openai_fields({"input": input, "model": model}, fields)
        return await self._sender.stream(operations.response(body, options, stream=True))


def _openai_body(messages: Sequence[Any], model: str, fields: _Fields) -> tuple[dict[str, Any], CallOptions, bool]:
    return _openai_fields({"model": model, "messages": list(messages)}, fields)


def _openai_fields(body: dict[str, Any], fields: _Fields) -> tuple[dict[str, Any], CallOptions, bool]:
    """(body, options of the call, whether the caller asked for a stream's usage) from openai's keyword arguments."""
    given = {name: value for name, value in fields.items() if value is not None}
    options = CallOptions()
    if "timeout" in given:
        options["timeout_s"] = float(given.pop("timeout"))
    if "max_retries" in given:
        options["max_retries"] = int(given.pop("max_retries"))
    if "idempotency_key" in given:
        options["idempotency_key"] = str(given.pop("idempotency_key"))
    if "extra_headers" in given:
        options["headers"] = dict(given.pop("extra_headers"))
    asked = {**body, **dict(given.pop("extra_body", {})), **given}
    return asked, options, bool((asked.get("stream_options") or {}).get("include_usage"))
