"""Every refusal that a client can see, as a class with a status and a stable code.

    GatewayError
    ├── InvalidApiKey          401 invalid_api_key          missing, wrong, expired or revoked
    ├── KeyNotAllowed          403 key_not_allowed          the key's scope forbids it
    ├── AccountSuspended       403 account_suspended
    ├── OperatorRefused        401 invalid_operator_token
    ├── OperatorNotAllowed     403 operator_not_allowed     the operator's role forbids it
    ├── NotFound               404 not_found                no such path or thing
    ├── ModelNotFound          404 model_not_found          no rate card names it
    ├── InvalidRequest         400 invalid_request_body     broken JSON, wrong field
    ├── Conflict               409 (its own code)           the state forbids it
    ├── RequestTooLarge        413 request_too_large
    ├── IdempotencyInProgress  409 idempotency_in_progress  the first call with this Idempotency-Key still runs
    ├── IdempotencyReplayGone  409 idempotency_replay_gone  it has run, and its answer is no longer kept
    ├── IdempotencyMismatch    422 idempotency_mismatch     it was another request
    ├── RateLimited            429 rate_limit_exceeded | concurrency_limit_exceeded
    ├── NotCovered             402
    │   ├── BudgetExceeded     402 budget_exceeded          a cap
    │   └── InsufficientQuota  402 insufficient_quota       prepaid balance empty
    ├── UpstreamUnavailable    502/503/504 upstream_unavailable
    ├── UpstreamInterrupted    502 upstream_interrupted     it broke off in mid-answer
    └── ServiceUnavailable     503 service_unavailable      our own stores are away
        ├── BacklogFull        503 usage_backlog_full       what was served before must be booked first
        ├── IdempotencyUnknown 503 service_unavailable      nobody can say now whether its Idempotency-Key was served before
        └── NotBooked          503 service_unavailable      the model answered, but the call could not be booked

Upstream's other 4xx are no class here: they pass through as they are.
Units: `retry_after_ms`. Messages never hold a secret, an upstream key or another tenant's name.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

RETRY_AFTER_S, BACKLOG_RETRY_AFTER_S = 1, 3
"""When it is worth asking again: our stores are away, or full."""


class GatewayError(Exception):
    """A refusal in the contract's shape (design.md section 3)."""

    status = 500
    code = "internal_error"
    type = "api_error"

    def __init__(self, message: str, *, param: str | None = None, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        self.headers: dict[str, str] = dict(headers or {})


class InvalidApiKey(GatewayError):
    """The same words for a missing, unknown, expired and revoked key: a caller learns nothing from the difference."""

    status, code, type = 401, "invalid_api_key", "authentication_error"

    def __init__(self) -> None:
        super().__init__(
            "This API key is missing, unknown, expired or revoked. Send it as 'Authorization: Bearer sk-solar-…'."
        )


class OperatorRefused(GatewayError):
    status, code, type = 401, "invalid_operator_token", "authentication_error"

    def __init__(self) -> None:
        super().__init__(
            "The operator token is missing or wrong. Send GATEWAY_OPERATOR_TOKEN, or a named operator's, as 'Authorization: Bearer …'."
        )


class OperatorNotAllowed(GatewayError):
    status, code, type = 403, "operator_not_allowed", "permission_error"

    def __init__(self, role: str) -> None:
        super().__init__(f"Operators with the role '{role}' may not do this.")


class KeyNotAllowed(GatewayError):
    status, code, type = 403, "key_not_allowed", "permission_error"


class AccountSuspended(GatewayError):
    status, code, type = 403, "account_suspended", "permission_error"

    def __init__(self) -> None:
        super().__init__("This account is suspended. Please contact the operator of this gateway.")


class NotFound(GatewayError):
    status, code, type = 404, "not_found", "invalid_request_error"


class ModelNotFound(GatewayError):
    status, code, type = 404, "model_not_found", "invalid_request_error"

    def __init__(self, model: str, *, successor: str | None = None) -> None:
        now = "is not offered here. GET /v1/models lists those that are."
        if successor is not None:
            now = f"has been retired. Use '{successor}' instead."
        super().__init__(f"The model '{model[:100]}' {now}", param="model")


class InvalidRequest(GatewayError):
    status, code, type = 400, "invalid_request_body", "invalid_request_error"


class Conflict(GatewayError):
    """The state of things forbids it; `code` says which rule."""

    status, type = 409, "invalid_request_error"

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class Unprocessable(Conflict):
    """Well-formed, but against a rule of money; `code` says which."""

    status = 422


class RequestTooLarge(GatewayError):
    status, code, type = 413, "request_too_large", "invalid_request_error"

    def __init__(self, limit_bytes: int) -> None:
        super().__init__(f"The request body is larger than the {limit_bytes} bytes that this gateway takes.")


class IdempotencyInProgress(GatewayError):
    """The answer is on its way; asking again finds it."""

    status, code, type = 409, "idempotency_in_progress", "invalid_request_error"

    def __init__(self, call_id: str, retry_after_s: int) -> None:
        super().__init__(
            f"The call {call_id} with this Idempotency-Key still runs. Retry after {retry_after_s} s to get its answer.",
            headers={"x-request-id": call_id, "retry-after": str(retry_after_s)},
        )


class IdempotencyReplayGone(GatewayError):
    """Served and charged once; asking again cannot bring the answer back."""

    status, code, type = 409, "idempotency_replay_gone", "invalid_request_error"

    def __init__(self, call_id: str) -> None:
        super().__init__(
            f"The call {call_id} with this Idempotency-Key was served, and its answer is no longer kept. "
            "A new call needs a new key.",
            headers={"x-request-id": call_id, "x-should-retry": "false"},
        )


class IdempotencyMismatch(GatewayError):
    status, code, type = 422, "idempotency_mismatch", "invalid_request_error"

    def __init__(self) -> None:
        super().__init__(
            "This Idempotency-Key belongs to another request. A new request needs a new key.",
            param="Idempotency-Key",
            headers={"x-should-retry": "false"},
        )


class RateLimited(GatewayError):
    status, code, type = 429, "rate_limit_exceeded", "rate_limit_error"

    def __init__(
        self, what: str, retry_after_ms: int, headers: Mapping[str, str], *, concurrency: bool = False
    ) -> None:
        super().__init__(f"The limit of {what} is reached. Retry after {retry_after_ms} ms.", headers=headers)
        if concurrency:
            self.code = "concurrency_limit_exceeded"
        self.retry_after_ms = retry_after_ms
        self.headers["retry-after"] = str(-(-retry_after_ms // 1000))
        self.headers["retry-after-ms"] = str(retry_after_ms)


class NotCovered(GatewayError):
    """What the call may cost at most is more than there is room for."""

    status, type = 402, "insufficient_quota"


class BudgetExceeded(NotCovered):
    code = "budget_exceeded"


class InsufficientQuota(NotCovered):
    code = "insufficient_quota"


class UpstreamUnavailable(GatewayError):
    """Upstream cannot be reached, is overloaded, or refuses us (its 401 and 403 are our fault, not the caller's)."""

    status, code, type = 502, "upstream_unavailable", "api_error"

    def __init__(self, message: str, *, status: int = 502, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message, headers=headers)
        self.status = status


class UpstreamInterrupted(GatewayError):
    status, code, type = 502, "upstream_interrupted", "api_error"

    def __init__(self) -> None:
        super().__init__(
            "The model's answer broke off. What was delivered until then is charged.",
            headers={"x-should-retry": "false"},
        )


class ServiceUnavailable(GatewayError):
    status, code, type = 503, "service_unavailable", "api_error"

    def __init__(self) -> None:
        super().__init__(
            "The gateway cannot reach its own stores just now. Nothing was sent to the model, nothing is charged.",
            headers={"retry-after": str(RETRY_AFTER_S)},
        )


class BacklogFull(ServiceUnavailable):
    """There is no room to book another call: the usage stream is at its bound, or Redis is away and the journal's disk is full."""

    code = "usage_backlog_full"

    def __init__(self) -> None:
        super().__init__()
        self.message = (
            "The gateway has no room to book another call until those before it are in its ledger. "
            f"Nothing was sent to the model, nothing is charged. Retry after {BACKLOG_RETRY_AFTER_S} s."
        )
        self.headers["retry-after"] = str(BACKLOG_RETRY_AFTER_S)


class IdempotencyUnknown(ServiceUnavailable):
    """Whether a call with this Idempotency-Key was served before cannot be told while our store is away."""

    def __init__(self) -> None:
        super().__init__()
        self.message = (
            "Whether a call with this Idempotency-Key was served before cannot be told just now. This attempt was not sent to the model. "
            f"Retry after {RETRY_AFTER_S} s."
        )


class NotBooked(ServiceUnavailable):
    """The model has answered, and the answer may not leave before it is booked. Asking again would make it answer twice."""

    def __init__(self, booked: asyncio.Event) -> None:
        """`booked`: set as soon as it is booked after all."""
        super().__init__()
        self.booked = booked
        self.message = "The model answered, but the gateway could not book the call, so the answer is withheld."
        self.headers = {"x-should-retry": "false"}
