"""The SDK of the SOLAR gateway.

    import solar_sdk
    print(solar_sdk.chat("안녕?"))

`chat` and `achat` ask; `Solar` and `AsyncSolar` are the clients behind them; `meter` counts tokens and cost. Every error
is a `SolarError`. Set SOLAR_API_KEY and SOLAR_BASE_URL, or call `configure`. Names not listed here may change.

Owns: the way from a Python call to the gateway and back: deadlines, retries, streams, typed answers, meters.
Never: decides a price, keeps a prompt, shows a key, or imports anything of the gateway.
"""

from .answers.completions import ChatCompletion, ChatCompletionChunk
from .answers.replies import Document, Embeddings, Parsed, RawAnswer, Reply, ResponseReply, ToolCall, Usage
from .answers.views import Account, Invoice, InvoiceLine, Limits, Model, MonthToDate, Page, Share, UsageReport, UsageRow
from .async_client import AsyncSolar
from .client import Solar
from .core.observing import CallFacts, Observer
from .core.operations import CallOptions, ChatOptions
from .default import achat, chat, configure
from .errors import (
    AuthenticationError,
    BudgetExceededError,
    ConfigurationError,
    DeadlineExceededError,
    IdempotencyConflictError,
    InvalidRequestError,
    MalformedAnswerError,
    MeterBudgetError,
    NotFoundError,
    PermissionDeniedError,
    RateLimitError,
    RequestTooLargeError,
    ServerError,
    SolarError,
    StreamInterruptedError,
    TransportError,
    UpstreamError,
)
from .metering import Meter, Sums, meter
from .namespaces import AsyncCompletionStream, CompletionStream
from .network.streams import AsyncStream, Stream

__all__ = [
    "Account",
    "AsyncCompletionStream",
    "AsyncSolar",
    "AsyncStream",
    "AuthenticationError",
    "BudgetExceededError",
    "CallFacts",
    "CallOptions",
    "ChatCompletion",
    "ChatCompletionChunk",
    "ChatOptions",
    "CompletionStream",
    "ConfigurationError",
    "DeadlineExceededError",
    "Document",
    "Embeddings",
    "IdempotencyConflictError",
    "InvalidRequestError",
    "Invoice",
    "InvoiceLine",
    "Limits",
    "MalformedAnswerError",
    "Meter",
    "MeterBudgetError",
    "Model",
    "MonthToDate",
    "NotFoundError",
    "Observer",
    "Page",
    "Parsed",
    "PermissionDeniedError",
    "RateLimitError",
    "RawAnswer",
    "Reply",
    "RequestTooLargeError",
    "ResponseReply",
    "ServerError",
    "Share",
    "Solar",
    "SolarError",
    "Stream",
    "StreamInterruptedError",
    "Sums",
    "ToolCall",
    "TransportError",
    "UpstreamError",
    "Usage",
    "UsageReport",
    "UsageRow",
    "achat",
    "chat",
    "configure",
    "meter",
]
