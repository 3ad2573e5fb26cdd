"""The clients behind `solar_sdk.chat` and `solar_sdk.achat`: made at the first call, kept for the next ones.

One sync client a process (a forked child makes its own: it must not share its parent's connections), one async client an
event loop (connections belong to their loop, and are closed with it). `configure` replaces them for later calls.
Raises ConfigurationError at the first call where there is no key.
"""

import asyncio
import os
import threading
from collections.abc import AsyncGenerator, Sequence
from typing import Literal, TypedDict, Unpack, overload

from .answers.replies import Reply
from .async_client import AsyncSolar
from .client import Solar
from .core.observing import Observer
from .core.operations import ChatOptions
from .network.streams import AsyncStream, Stream


class ClientOptions(TypedDict, total=False):
    """What `configure` takes: the same as `Solar`, without connections of your own."""

    api_key: str | None
    base_url: str | None
    timeout_s: float | None
    max_retries: int | None
    observers: Sequence[Observer]


class _Defaults:
    def __init__(self) -> None:
        self._options: ClientOptions = {}
        self._watches: dict[AsyncSolar, AsyncGenerator[None, None]] = {}
        self.forget()

    def forget(self) -> None:
        self._lock = threading.Lock()  # a fork may have copied the old one while it was held
        self._sync: Solar | None = None
        self._by_loop: dict[asyncio.AbstractEventLoop, AsyncSolar] = {}

    def configure(self, options: ClientOptions) -> None:
        with self._lock:
            self._options = options
            self._sync = None  # calls that are under way keep the old client until they end
            self._by_loop = {}

    def sync_client(self) -> Solar:
        with self._lock:
            if self._sync is None:
                self._sync = Solar(**self._options)
            return self._sync

    async def async_client(self) -> AsyncSolar:
        loop = asyncio.get_running_loop()
        with self._lock:
            client = self._by_loop.get(loop)
            if client is not None:
                return client
            client = self._by_loop[loop] = AsyncSolar(**self._options)
            watch = self._watches[client] = self._close_with_loop(loop, client)
        await anext(watch)
        return client

    async def _close_with_loop(self, loop: asyncio.AbstractEventLoop, client: AsyncSolar) -> AsyncGenerator[None, None]:
        # asyncio ends the async generators of a loop that shuts down; ours takes the client with it.
        try:
            yield
        finally:
            with self._lock:
                if self._by_loop.get(loop) is client:
                    del self._by_loop[loop]
                self._watches.pop(client, None)
            await client.aclose()


_defaults = _Defaults()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_defaults.forget)


def configure(**options: Unpack[ClientOptions]) -> None:
    """Sets what `chat` and `achat` use from now on; what is not given comes from the environment."""
    _defaults.configure(options)


@overload
def chat(prompt: str | None = None, *, stream: Literal[False] = False, **options: Unpack[ChatOptions]) -> Reply: ...
@overload
def chat(prompt: str | None = None, *, stream: Literal[True], **options: Unpack[ChatOptions]) -> Stream[Reply]: ...
@overload
def chat(prompt: str | None = None, *, stream: bool, **options: Unpack[ChatOptions]) -> Reply | Stream[Reply]: ...
def chat(prompt: str | None = None, *, stream: bool = False, **options: Unpack[ChatOptions]) -> Reply | Stream[Reply]:
    """Asks Solar: `print(solar_sdk.chat("안녕?"))`. With `stream=True`: pieces of text. Options: see `ChatOptions`."""
    return _defaults.sync_client().chat(prompt, stream=stream, **options)


@overload
async def achat(
    prompt: str | None = None, *, stream: Literal[False] = False, **options: Unpack[ChatOptions]
) -> Reply: ...
@overload
async def achat(
    prompt: str | None = None, *, stream: Literal[True], **options: Unpack[ChatOptions]
) -> AsyncStream[Reply]: ...
@overload
async def achat(
    prompt: str | None = None, *, stream: bool, **options: Unpack[ChatOptions]
) -> Reply | AsyncStream[Reply]: ...
async def achat(
    prompt: str | None = None, *, stream: bool = False, **options: Unpack[ChatOptions]
) -> Reply | AsyncStream[Reply]:
    """Asks Solar from asyncio. Streams are awaited first: `async for piece in await achat("...", stream=True)`."""
    return await (await _defaults.async_client()).chat(prompt, stream=stream, **options)
