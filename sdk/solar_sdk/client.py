"""The sync client. Everything it decides is in `core`; here requests are sent and answers read.

One client serves many threads. It holds connections: close it, or use it as a context manager. A process forked from
one that holds a client makes its own (the module's own `solar_sdk.chat` does that by itself).
Units: seconds. Raises the errors of the tree.
"""

import os
from collections import deque
from collections.abc import Sequence
from datetime import date
from types import TracebackType
from typing import Any, Literal, Self, TypeVar, Unpack, overload

import httpx
from tenacity import Retrying

from .core import operations
from .core.call import Call
from .core.operations import ChatOptions, Operation, UsageGroup
from .core.settings import Settings
from .errors import ConfigurationError, SolarError
from .exchange import Exchange
from .replies import Embeddings, Reply
from .streams import ChatStream
from .transport import DeadlineTransport
from .views import Account, Invoice, Model, Page, Share, UsageReport

_T = TypeVar("_T")


class Solar:
    """A client of the SOLAR gateway.

    api_key       default: the environment's SOLAR_API_KEY
    base_url      default: the environment's SOLAR_BASE_URL, else http://127.0.0.1:8080/v1; `/v1` is added if absent
    timeout_s     total seconds of each call, retries and stream included; default 600
    max_retries   further attempts after the first; default 2
    transport     an httpx transport to use instead of our own
    httpx_client  a whole httpx client to use, and to leave open; with it or `transport` the deadline is checked between
                  reads, and a single wait is at most what was left when the answer began
    """

    def __init__(
        self,
        api_key: str | None = None,
        base_url: str | None = None,
        timeout_s: float | None = None,
        max_retries: int | None = None,
        transport: httpx.BaseTransport | None = None,
        httpx_client: httpx.Client | None = None,
    ) -> None:
        if transport is not None and httpx_client is not None:
            raise ConfigurationError("Give either transport or httpx_client.")
        self._settings = Settings.resolve(
            os.environ, api_key=api_key, base_url=base_url, timeout_s=timeout_s, max_retries=max_retries
        )
        self._owned = httpx_client is None
        self._exact = transport is None and httpx_client is None
        self._http = httpx_client or httpx.Client(transport=transport or DeadlineTransport(self._settings.base_url))
        self._abandoned: deque[Exchange] = deque()

    def __repr__(self) -> str:
        return f"Solar(base_url={self._settings.base_url!r})"

    @overload
    def chat(
        self, prompt: str | None = None, *, stream: Literal[False] = False, **options: Unpack[ChatOptions]
    ) -> Reply: ...
    @overload
    def chat(
        self, prompt: str | None = None, *, stream: Literal[True], **options: Unpack[ChatOptions]
    ) -> ChatStream: ...
    @overload
    def chat(
        self, prompt: str | None = None, *, stream: bool, **options: Unpack[ChatOptions]
    ) -> Reply | ChatStream: ...
    def chat(
        self, prompt: str | None = None, *, stream: bool = False, **options: Unpack[ChatOptions]
    ) -> Reply | ChatStream:
        """Asks the model; with `stream=True` the answer comes piece by piece. Options: see `ChatOptions`."""
        operation = operations.chat(prompt, stream, options)
        if stream:
            return self._stream(operation)
        return self._whole(operation)

    def embed(
        self,
        texts: str | Sequence[str],
        *,
        model: str | None = None,
        timeout_s: float | None = None,
        idempotency_key: str | None = None,
    ) -> Embeddings:
        """Turns texts into vectors, in their order. At most 100 texts at once."""
        return self._whole(operations.embed(texts, model, timeout_s, idempotency_key))

    def models(self) -> Page[Model]:
        """The models this key may use."""
        return self._whole(operations.models())

    def usage(
        self, *, from_: date | str | None = None, to: date | str | None = None, group_by: UsageGroup | None = None
    ) -> UsageReport:
        """What the account used from one day up to, not including, another; by default in the running month."""
        return self._whole(operations.usage(from_, to, group_by))

    def account(self) -> Account:
        """Tier, discount, limits, grant tokens left, month to date."""
        return self._whole(operations.account())

    def invoices(self, *, month: str | None = None, after: str | None = None) -> Page[Invoice]:
        """The account's invoices, of one month ("2026-10") or all; one page, the next behind `after=page.next`."""
        return self._whole(operations.invoices(month, after))

    def shares(self, *, month: str | None = None, after: str | None = None) -> Page[Share]:
        """The account's revenue shares, of one month or all; one page, the next behind `after=page.next`."""
        return self._whole(operations.shares(month, after))

    def close(self) -> None:
        """Closes the connections (those of an `httpx_client` of your own stay open)."""
        self._reap()
        if self._owned:
            self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _whole(self, operation: Operation[_T]) -> _T:
        call = Call(self._settings, operation)
        result: _T = Retrying(**call.retry_options())(self._attempt_whole, call)
        return result

    def _attempt_whole(self, call: Call[_T]) -> _T:
        exchange = self._begin(call)
        return call.answer(exchange.response, exchange.read_all())

    def _stream(self, operation: Operation[Reply]) -> ChatStream:
        call = Call(self._settings, operation)
        return Retrying(**call.retry_options())(self._attempt_stream, call)

    def _attempt_stream(self, call: Call[Reply]) -> ChatStream:
        exchange = self._begin(call)
        try:
            first = exchange.read()
            if not first:
                raise call.cut_before_first_byte(exchange.response)
        except SolarError:
            exchange.close()
            raise
        return ChatStream(exchange, first, self._abandoned, drain=self._exact)

    def _begin(self, call: Call[Any]) -> Exchange:
        if self._http.is_closed:
            raise ConfigurationError("This client is closed.", code="client_closed")
        self._reap()
        return Exchange.begin(self._http, call)

    def _reap(self) -> None:
        while self._abandoned:
            self._abandoned.popleft().close()
