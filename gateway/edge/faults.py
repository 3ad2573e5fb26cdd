"""Whatever goes wrong on the ordinary routes → the contract's error shape. Nothing of a stack trace, a path or a row leaves."""

from __future__ import annotations

from typing import Any

import structlog
from litestar import Request, Response
from litestar.exceptions import (
    ClientException,
    HTTPException,
    MethodNotAllowedException,
    NotFoundException,
    ValidationException,
)

from billing.accounts.countries import UnknownCountry
from billing.accounts.registration import WrongRegistrationNumber
from billing.accounts.store import AccountNotFound, WrongAccount
from billing.club.store import ContributionNotFound
from billing.fx import RateMissing
from billing.invoice.read import CreditNoteNotFound, InvoiceNotFound
from billing.ledger.sources import MonthDetached
from billing.payouts.read import HoldNotFound, PayoutNotFound
from gateway.edge.wire import to_wire_error
from gateway.errors import Conflict, GatewayError, InvalidRequest, NotFound, ServiceUnavailable
from gateway.keys.lifecycle import KeyNotFound

log = structlog.get_logger("edge")
AnyRequest = Request[Any, Any, Any]


def _answer(error: GatewayError) -> Response[bytes]:
    return Response(
        to_wire_error(error), status_code=error.status, media_type="application/json", headers=error.headers
    )


def refusal(_: AnyRequest, error: GatewayError) -> Response[bytes]:
    return _answer(error)


def not_found(_: AnyRequest, error: Exception) -> Response[bytes]:
    if isinstance(error, NotFoundException):
        return _answer(NotFound("There is no such path. Paths that are not metered are not passed on."))
    return _answer(NotFound(f"{error}."))


def rate_missing(_: AnyRequest, error: RateMissing) -> Response[bytes]:
    return _answer(Conflict("fx_rate_missing", f"{error}."))


def month_detached(_: AnyRequest, error: MonthDetached) -> Response[bytes]:
    return _answer(Conflict("month_detached", f"{error}."))


def wrong_number(_: AnyRequest, error: WrongRegistrationNumber) -> Response[bytes]:
    return _answer(InvalidRequest(f"tax.registration_number: {error}.", param="tax.registration_number"))


def wrong_country(_: AnyRequest, error: UnknownCountry) -> Response[bytes]:
    return _answer(InvalidRequest(f"tax.country: {error}.", param="tax.country"))


def wrong_field(_: AnyRequest, error: WrongAccount) -> Response[bytes]:
    return _answer(InvalidRequest(f"{error}.", param=str(error).partition(":")[0]))


def wrong_method(_: AnyRequest, error: MethodNotAllowedException) -> Response[bytes]:
    refused = InvalidRequest("This path does not take that method.")
    refused.status, refused.code = 405, "method_not_allowed"
    refused.headers.update(error.headers or {})
    return _answer(refused)


def invalid(_: AnyRequest, error: ClientException) -> Response[bytes]:
    extra = error.extra[0] if isinstance(error.extra, list) and error.extra else {}
    detail = extra.get("message", error.detail) if isinstance(extra, dict) else error.detail
    param = extra.get("key") if isinstance(extra, dict) else None
    where = f"{param}: " if param else ""
    refused = InvalidRequest(f"The request is not valid: {where}{detail}.", param=param)
    if error.status_code == 413:
        refused.status, refused.code = 413, "request_too_large"
    return _answer(refused)


def unreadable(_: AnyRequest, __: UnicodeDecodeError | RecursionError) -> Response[bytes]:
    """A body that is no text, or nested deeper than a reader goes: the decoder says so in these two, and not in its own errors."""
    return _answer(InvalidRequest("The request body is not JSON that can be read."))


def unexpected(request: AnyRequest, error: Exception) -> Response[bytes]:
    """A defect or a store that is away: logged with its kind, answered without it."""
    if isinstance(error, HTTPException) and error.status_code < 500:
        return invalid(request, ClientException(error.detail, status_code=error.status_code))
    if isinstance(error, OSError | TimeoutError):
        return _answer(ServiceUnavailable())
    log.error("unexpected", path=request.scope["path"], kind=type(error).__name__, exc_info=error)
    return _answer(GatewayError("Something went wrong inside the gateway. It has been logged."))


EXCEPTION_HANDLERS: dict[int | type[Exception], Any] = {
    GatewayError: refusal,
    AccountNotFound: not_found,
    KeyNotFound: not_found,
    InvoiceNotFound: not_found,
    CreditNoteNotFound: not_found,
    ContributionNotFound: not_found,
    HoldNotFound: not_found,
    PayoutNotFound: not_found,
    RateMissing: rate_missing,
    MonthDetached: month_detached,
    WrongRegistrationNumber: wrong_number,
    UnknownCountry: wrong_country,
    WrongAccount: wrong_field,
    NotFoundException: not_found,
    MethodNotAllowedException: wrong_method,
    ValidationException: invalid,
    ClientException: invalid,
    UnicodeDecodeError: unreadable,
    RecursionError: unreadable,
    Exception: unexpected,
}
