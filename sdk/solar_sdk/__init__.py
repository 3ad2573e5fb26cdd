"""The SDK of the SOLAR gateway.

    import solar_sdk
    print(solar_sdk.chat("안녕?"))

`chat` and `achat` ask; `Solar` and `AsyncSolar` are the clients behind them; `meter` counts tokens and cost. Every error
is a `SolarError`. Set SOLAR_API_KEY and SOLAR_BASE_URL, or call `configure`. Names not listed here may change.

Owns: the way from a Python call to the gateway and back: deadlines, retries, streams, typed answers, meters.
Never: decides a price, keeps a prompt, shows a key, or imports anything of the gateway.
"""

from .async_client import AsyncSolar
from .client import Solar
from .core.operations import ChatOptions
from .default import achat, chat, configure
from .errors import (
    AuthenticationError,
    BudgetExceededError,
    ConfigurationError,
    DeadlineExceededError,
    IdempotencyConflictError,
    InvalidRequestError,
    MalformedAnswerError,
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
from .replies import Embeddings, Reply, ToolCall, Usage
from .streams import AsyncChatStream, ChatStream
from .views import Account, Invoice, InvoiceLine, Limits, Model, MonthToDate, Page, Share, UsageReport, UsageRow

__all__ = [
    "Account",
    "AsyncChatStream",
    "AsyncSolar",
    "AuthenticationError",
    "BudgetExceededError",
    "ChatOptions",
    "ChatStream",
    "ConfigurationError",
    "DeadlineExceededError",
    "Embeddings",
    "IdempotencyConflictError",
    "InvalidRequestError",
    "Invoice",
    "InvoiceLine",
    "Limits",
    "MalformedAnswerError",
    "Meter",
    "Model",
    "MonthToDate",
    "NotFoundError",
    "Page",
    "PermissionDeniedError",
    "RateLimitError",
    "Reply",
    "RequestTooLargeError",
    "ServerError",
    "Share",
    "Solar",
    "SolarError",
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
