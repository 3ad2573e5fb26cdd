"""Every error the SDK raises. One tree, drawn here; nothing outside it reaches the caller.

    SolarError
    ├── ConfigurationError            no key, an impossible setting (nothing was sent)
    ├── InvalidRequestError           400, 422 and other 4xx: sending it again will not help
    │   ├── AuthenticationError       401  the key is missing, wrong, expired or revoked
    │   ├── PermissionDeniedError     403  the key's scope, or the account is suspended
    │   ├── NotFoundError             404  no such model or path
    │   ├── RequestTooLargeError      413
    │   └── IdempotencyConflictError  409, 422 idempotency_mismatch: this Idempotency-Key was used before
    ├── BudgetExceededError           402  a cap is reached or the prepaid balance is empty; also in mid-stream
    │   └── MeterBudgetError          a `meter(budget=...)` of your own does not cover another call (nothing was sent)
    ├── RateLimitError                429  `retry_after_s` says when
    ├── ServerError                   408, 5xx: the service failed
    │   └── UpstreamError             502, 503, 504: Solar behind the gateway failed
    ├── TransportError                no answer came: connection refused, reset, cut
    ├── DeadlineExceededError         the call's one total deadline passed (also a `TimeoutError`)
    ├── StreamInterruptedError        a stream ended without its end, or was told to stop by an error event
    └── MalformedAnswerError          an answer arrived that is not what the contract says

Fields of each: `message`, `code` (the gateway's stable code, or one of this SDK's), `status` (HTTP, where there was an
answer), `call_id` (the gateway's permanent id, where known), `retry_after_s` (seconds, where the server said so) and
`retryable` (whether the SDK itself was allowed to try again). No field ever holds a key.
"""


class SolarError(Exception):
    """The root: `except solar_sdk.SolarError` catches everything this SDK raises."""

    def __init__(
        self,
        message: str,
        *,
        code: str | None = None,
        status: int | None = None,
        call_id: str | None = None,
        retry_after_s: float | None = None,
        retryable: bool = False,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.status = status
        self.call_id = call_id
        self.retry_after_s = retry_after_s
        self.retryable = retryable

    def __str__(self) -> str:
        facts = {"status": self.status, "code": self.code, "call_id": self.call_id}
        known = ", ".join(f"{name}={value}" for name, value in facts.items() if value is not None)
        return f"{self.message} ({known})" if known else self.message


class ConfigurationError(SolarError):
    """The client cannot be built or the call cannot be prepared; nothing was sent."""


class InvalidRequestError(SolarError):
    """The request was refused and would be refused again."""


class AuthenticationError(InvalidRequestError):
    """The key is missing, wrong, expired or revoked."""


class PermissionDeniedError(InvalidRequestError):
    """The key may not do this, or the account is suspended."""


class NotFoundError(InvalidRequestError):
    """There is no such model or path."""


class RequestTooLargeError(InvalidRequestError):
    """The body is larger than the gateway takes."""


class IdempotencyConflictError(InvalidRequestError):
    """The Idempotency-Key belongs to another body, to a running call, or to an answer that is gone."""


class BudgetExceededError(SolarError):
    """A cap is reached or the prepaid balance is empty."""


class MeterBudgetError(BudgetExceededError):
    """A local budget does not cover another call; nothing was sent."""


class RateLimitError(SolarError):
    """Too many requests, tokens or calls at once."""


class ServerError(SolarError):
    """The service failed."""


class UpstreamError(ServerError):
    """Solar behind the gateway is away or broke off."""


class TransportError(SolarError):
    """No answer came over the network."""


class DeadlineExceededError(SolarError, TimeoutError):
    """The total deadline of the call, retries and stream included, has passed."""


class StreamInterruptedError(SolarError):
    """A stream stopped before its end; what had come was already handed out."""


class MalformedAnswerError(SolarError):
    """The answer is not JSON, or lacks what the contract promises."""
