"""The async client, the twin of `client.py`. Everything it decides is in `core`; `sending.py` sends and reads.

One client belongs to one asyncio event loop. It holds connections: close it, or use it with `async with`.
Units: seconds. Raises the errors of the tree.
"""

import os
from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self, TypeVar, Unpack

import httpx

from .answers.replies import Document, Embeddings, Parsed, RawAnswer
from .answers.views import Account, Invoice, Model, Page, Share, UsageReport
from .core import operations
from .core.observing import Observer
from .core.operations import CallOptions, ChatOptions, UsageGroup
from .core.settings import Settings
from .core.uploads import read_document, to_wire_data_uri, to_wire_form
from .errors import ConfigurationError
from .namespaces import AsyncChat, AsyncResponses
from .network.sending import AsyncSending
from .network.transport import LIMITS, tls

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
        observers: Sequence[Observer] = (),
    ) -> None:
        if transport is not None and httpx_client is not None:
            raise ConfigurationError("Give either transport or httpx_client.")
        self._settings = Settings.resolve(
            os.environ,
            api_key=api_key,
            base_url=base_url,
            timeout_s=timeout_s,
            max_retries=max_retries,
            observers=observers,
        )
        http = httpx_client or httpx.AsyncClient(transport=transport, verify=tls(), limits=LIMITS)
        self._sending = AsyncSending(self._settings, http, owned=httpx_client is None)

    def __repr__(self) -> str:
        return f"AsyncSolar(base_url={self._settings.base_url!r})"

    @property
    def chat(self) -> AsyncChat:
        """`await client.chat("…")` asks; `client.chat.completions.create(...)` is the same in openai's shape."""
        return AsyncChat(self._sending)

    @property
    def responses(self) -> AsyncResponses:
        """`client.responses.create(input=...)` and `.stream(input=...)`."""
        return AsyncResponses(self._sending)

    async def parse(self, prompt: str | None, into: type[_T], **options: Unpack[ChatOptions]) -> Parsed[_T]:
        """Has the model fill in a dataclass, a pydantic model or a msgspec struct: `(await client.parse("…", Book)).value`."""
        return await self._sending.whole(operations.parse(prompt, into, options))

    async def embed(
        self, texts: str | Sequence[str], *, model: str | None = None, **options: Unpack[CallOptions]
    ) -> Embeddings:
        """Turns texts into vectors, in their order. At most 100 texts at once."""
        return await self._sending.whole(operations.embed(texts, model, options))

    async def parse_document(
        self,
        document: bytes | str | Path,
        *,
        filename: str | None = None,
        model: str = "document-parse",
        fields: Mapping[str, str] | None = None,
        **options: Unpack[CallOptions],
    ) -> Document:
        """Reads a document (a path, or bytes with their `filename`). `fields`: further ones of the form, such as `mode` or `ocr`."""
        name, content = read_document(document, filename)
        form, content_type = to_wire_form(name, content, {"model": model, **(fields or {})})
        return await self._sending.whole(operations.document(form, content_type, model, options))

    async def extract(
        self,
        document: bytes | str | Path,
        schema: Mapping[str, Any],
        *,
        filename: str | None = None,
        model: str = "information-extract",
        **options: Unpack[CallOptions],
    ) -> Parsed[Any]:
        """What a JSON schema asks for, out of a document."""
        uri = to_wire_data_uri(*read_document(document, filename))
        return await self._sending.whole(operations.extract(uri, schema, model, options))

    async def request(
        self,
        method: Literal["GET", "POST"],
        path: str,
        body: Mapping[str, Any] | None = None,
        **options: Unpack[CallOptions],
    ) -> RawAnswer:
        """Any path behind `/v1`, its 2xx answer as it came, with the deadline, retries and errors of every call."""
        return await self._sending.whole(operations.raw(method, path, body, options))

    async def models(self) -> Page[Model]:
        """The models this key may use."""
        return await self._sending.whole(operations.models())

    async def usage(
        self, *, from_: date | str | None = None, to: date | str | None = None, group_by: UsageGroup | None = None
    ) -> UsageReport:
        """What the account used from one day up to, not including, another; by default in the running month."""
        return await self._sending.whole(operations.usage(from_, to, group_by))

    async def account(self) -> Account:
        """Tier, discount, limits, grant tokens left, month to date."""
        return await self._sending.whole(operations.account())

    async def invoices(self, *, month: str | None = None, after: str | None = None) -> Page[Invoice]:
        """The account's invoices, of one month ("2026-10") or all; one page, the next behind `after=page.next`."""
        return await self._sending.whole(operations.invoices(month, after))

    async def shares(self, *, month: str | None = None, after: str | None = None) -> Page[Share]:
        """The account's revenue shares, of one month or all; one page, the next behind `after=page.next`."""
        return await self._sending.whole(operations.shares(month, after))

    async def aclose(self) -> None:
        """Closes the connections (those of an `httpx_client` of your own stay open)."""
        await self._sending.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()
