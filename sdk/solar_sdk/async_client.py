"""The async client, the twin of `client.py`. Everything it decides is in `core`.

One client belongs to one asyncio event loop. It holds connections: close it, or use it with `async with`.
Units: seconds. Raises the errors of the tree.
"""

import os
from collections.abc import Sequence
from datetime import date
from types import TracebackType
from typing import Any, Literal, Self, TypeVar, Unpack, overload

import httpx
from tenacity import AsyncRetrying

from .core import operations
from .core.call import Call
from .core.operations import ChatOptions, Operation, UsageGroup
from .core.settings import Settings
from .errors import ConfigurationError, SolarError
from .exchange import AsyncExchange
from .replies import Embeddings, Reply
from .streams import AsyncChatStream
from .transport import LIMITS, tls
from .views import Account, Invoice, Model, Page, Share, UsageReport

_T = TypeVar("_T")


class AsyncSolar:
    """A client of the SOLAR gateway for asyncio. Arguments as for `Solar`; here the deadline is exact with any transport."""

    def __init__(
        self,
        api_key: str | None = None,
        base_url: str | None = None,
        timeout_s: float | None = None,
        max_retries: int | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
        httpx_client: httpx.AsyncClient | None = None,
    ) -> None:
        if transport is not None and httpx_client is not None:
            raise ConfigurationError("Give either transport or httpx_client.")
        self._settings = Settings.resolve(
            os.environ, api_key=api_key, base_url=base_url, timeout_s=timeout_s, max_retries=max_retries
        )
        self._owned = httpx_client is None
        self._http = httpx_client or httpx.AsyncClient(transport=transport, verify=tls(), limits=LIMITS)

    def __repr__(self) -> str:
        return f"AsyncSolar(base_url={self._settings.base_url!r})"

    @overload
    async def chat(
        self, prompt: str | None = None, *, stream: Literal[False] = False, **options: Unpack[ChatOptions]
    ) -> Reply: ...
    @overload
    async def chat(
        self, prompt: str | None = None, *, stream: Literal[True], **options: Unpack[ChatOptions]
    ) -> AsyncChatStream: ...
    @overload
    async def chat(
        self, prompt: str | None = None, *, stream: bool, **options: Unpack[ChatOptions]
    ) -> Reply | AsyncChatStream: ...
    async def chat(
        self, prompt: str | None = None, *, stream: bool = False, **options: Unpack[ChatOptions]
    ) -> Reply | AsyncChatStream:
        """Asks the model. Streams are awaited first: `async for piece in await client.chat("...", stream=True)`."""
        operation = operations.chat(prompt, stream, options)
        if stream:
            return await self._stream(operation)
        return await self._whole(operation)

    async def embed(
        self,
        texts: str | Sequence[str],
        *,
        model: str | None = None,
        timeout_s: float | None = None,
        idempotency_key: str | None = None,
    ) -> Embeddings:
        """Turns texts into vectors, in their order. At most 100 texts at once."""
        return await self._whole(operations.embed(texts, model, timeout_s, idempotency_key))

    async def models(self) -> Page[Model]:
        """The models this key may use."""
        return await self._whole(operations.models())

    async def usage(
        self, *, from_: date | str | None = None, to: date | str | None = None, group_by: UsageGroup | None = None
    ) -> UsageReport:
        """What the account used from one day up to, not including, another; by default in the running month."""
        return await self._whole(operations.usage(from_, to, group_by))

    async def account(self) -> Account:
        """Tier, discount, limits, grant tokens left, month to date."""
        return await self._whole(operations.account())

    async def invoices(self, *, month: str | None = None, after: str | None = None) -> Page[Invoice]:
        """The account's invoices, of one month ("2026-10") or all; one page, the next behind `after=page.next`."""
        return await self._whole(operations.invoices(month, after))

    async def shares(self, *, month: str | None = None, after: str | None = None) -> Page[Share]:
        """The account's revenue shares, of one month or all; one page, the next behind `after=page.next`."""
        return await self._whole(operations.shares(month, after))

    async def aclose(self) -> None:
        """Closes the connections (those of an `httpx_client` of your own stay open)."""
        if self._owned:
            await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def _whole(self, operation: Operation[_T]) -> _T:
        call = Call(self._settings, operation)
        return await AsyncRetrying(**call.retry_options())(self._attempt_whole, call)

    async def _attempt_whole(self, call: Call[_T]) -> _T:
        exchange = await self._begin(call)
        return call.answer(exchange.response, await exchange.read_all())

    async def _stream(self, operation: Operation[Reply]) -> AsyncChatStream:
        call = Call(self._settings, operation)
        return await AsyncRetrying(**call.retry_options())(self._attempt_stream, call)

    async def _attempt_stream(self, call: Call[Reply]) -> AsyncChatStream:
        exchange = await self._begin(call)
        try:
            first = await exchange.read()
            if not first:
                raise call.cut_before_first_byte(exchange.response)
        except SolarError:
            await exchange.close()
            raise
        return AsyncChatStream(exchange, first)

    async def _begin(self, call: Call[Any]) -> AsyncExchange:
        if self._http.is_closed:
            raise ConfigurationError("This client is closed.", code="client_closed")
        return await AsyncExchange.begin(self._http, call)
