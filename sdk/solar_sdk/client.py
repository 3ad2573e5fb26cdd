"""The sync client. Everything it decides is in `core`; `sending.py` sends and reads.

One client serves many threads. It holds connections: close it, or use it as a context manager. A process forked from
one that holds a client makes its own (the module's own `solar_sdk.chat` does that by itself).
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
from .namespaces import Chat, Responses
from .network.sending import Sending
from .network.transport import DeadlineTransport

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
    observers     those who watch each call, such as `solar_sdk.telemetry.Spans(tracer)`
    """

    def __init__(
        self,
        api_key: str | None = None,
        base_url: str | None = None,
        timeout_s: float | None = None,
        max_retries: int | None = None,
        transport: httpx.BaseTransport | None = None,
        httpx_client: httpx.Client | None = None,
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
        http = httpx_client or httpx.Client(transport=transport or DeadlineTransport(self._settings.base_url))
        exact = transport is None and httpx_client is None
        self._sending = Sending(self._settings, http, owned=httpx_client is None, exact=exact)

    def __repr__(self) -> str:
        return f"Solar(base_url={self._settings.base_url!r})"

    @property
    def chat(self) -> Chat:
        """`client.chat("…")` asks; `client.chat.completions.create(...)` is the same in openai's shape."""
        return Chat(self._sending)

    @property
    def responses(self) -> Responses:
        """`client.responses.create(input=...)` and `.stream(input=...)`."""
        return Responses(self._sending)

    def parse(self, prompt: str | None, into: type[_T], **options: Unpack[ChatOptions]) -> Parsed[_T]:
        """Has the model fill in a dataclass, a pydantic model or a msgspec struct: `client.parse("…", Book).value`."""
        return self._sending.whole(operations.parse(prompt, into, options))

    def embed(
        self, texts: str | Sequence[str], *, model: str | None = None, **options: Unpack[CallOptions]
    ) -> Embeddings:
        """Turns texts into vectors, in their order. At most 100 texts at once."""
        return self._sending.whole(operations.embed(texts, model, options))

    def parse_document(
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
        return self._sending.whole(operations.document(form, content_type, model, options))

    def extract(
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
        return self._sending.whole(operations.extract(uri, schema, model, options))

    def request(
        self,
        method: Literal["GET", "POST"],
        path: str,
        body: Mapping[str, Any] | None = None,
        **options: Unpack[CallOptions],
    ) -> RawAnswer:
        """Any path behind `/v1`, its 2xx answer as it came, with the deadline, retries and errors of every call."""
        return self._sending.whole(operations.raw(method, path, body, options))

    def models(self) -> Page[Model]:
        """The models this key may use."""
        return self._sending.whole(operations.models())

    def usage(
        self, *, from_: date | str | None = None, to: date | str | None = None, group_by: UsageGroup | None = None
    ) -> UsageReport:
        """What the account used from one day up to, not including, another; by default in the running month."""
        return self._sending.whole(operations.usage(from_, to, group_by))

    def account(self) -> Account:
        """Tier, discount, limits, grant tokens left, month to date."""
        return self._sending.whole(operations.account())

    def invoices(self, *, month: str | None = None, after: str | None = None) -> Page[Invoice]:
        """The account's invoices, of one month ("2026-10") or all; one page, the next behind `after=page.next`."""
        return self._sending.whole(operations.invoices(month, after))

    def shares(self, *, month: str | None = None, after: str | None = None) -> Page[Share]:
        """The account's revenue shares, of one month or all; one page, the next behind `after=page.next`."""
        return self._sending.whole(operations.shares(month, after))

    def close(self) -> None:
        """Closes the connections (those of an `httpx_client` of your own stay open)."""
        self._sending.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
