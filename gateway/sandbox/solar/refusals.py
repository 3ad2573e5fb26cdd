"""One class for everything the simulated Solar refuses, and its bodies on the wire.

    Refusal(status, code, message)     code None: an answer without a body, as Upstage gives for paths, methods and its backend

Bodies and codes: upstage-api.md section 6, 2026-11-23. Credit errors carry message and code alone, as they were captured.
The Anthropic shape on /v1/messages is inferred; it keeps Upstage's code, because its docs say to branch on it.
"""

from typing import Any

import msgspec

INVALID_BODY = "invalid_request_body"
CREDIT_CODES = frozenset({"api_key_is_blocked", "api_key_is_not_allowed"})
_ANTHROPIC_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    529: "overloaded_error",
}


class Refusal(Exception):
    """The request gets no answer but an error: status, stable code, what was wrong, and with which field."""

    def __init__(
        self, status: int, code: str | None, message: str, *, param: str = "", retry_after_s: int | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.param = param
        self.retry_after_s = retry_after_s


def bad_request(message: str, param: str = "") -> Refusal:
    """400 invalid_request_body: a bad body, field, type or model."""
    return Refusal(400, INVALID_BODY, message, param=param)


def to_wire_error(refusal: Refusal, *, anthropic: bool = False) -> dict[str, Any]:
    """The error object."""
    error: dict[str, Any] = {"message": refusal.message, "code": refusal.code}
    if anthropic:
        error["type"] = _ANTHROPIC_TYPES.get(refusal.status, "api_error")
        return {"type": "error", "error": error}
    if refusal.code not in CREDIT_CODES:
        error["type"] = "invalid_request_error" if refusal.status < 500 else "server_error"
        error["param"] = refusal.param
    return {"error": error}


def to_wire_body(refusal: Refusal, *, anthropic: bool = False) -> bytes:
    """The whole body of the answer; empty where Upstage sends none."""
    return b"" if refusal.code is None else msgspec.json.encode(to_wire_error(refusal, anthropic=anthropic))
