"""The only door to Stripe: what we ask of it, its errors in our words, and the proof that a webhook is Stripe's.

    StripeFault             nothing is known to have happened, or what happened is said
    ├── StripeAway          no answer, or "later": the same request under the same key may be sent again; it takes effect once
    │   └── StripeBroken    a 5xx: Stripe keeps that answer under its key, so look whether it took effect, then ask under a new key
    ├── StripeRefused       this request as it is will never be taken; says field and code
    └── StripeLocked        our key is not accepted, or may not do this: an operator has to look
    ForgedWebhook           not signed with our secret, or too old: `why` is one of `FORGERIES`

Units: money in whole minor units (KRW has none, so whole won), times in Unix seconds and milliseconds. Objects are plain dictionaries.
Retries here are few and only under the same idempotency key (a lost connection, 429, a request that still runs); whoever calls keeps
the request and comes back later. Sources: docs.stripe.com/api/idempotent_requests ("saves the resulting status code and body of the
first request … including 500 errors", keys pruned after 24 h at the earliest) and docs.stripe.com/webhooks, both read 2026-11.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any, Final

import stripe
from stripe import HTTPXClient, StripeClient, WebhookSignature
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type, stop_after_attempt, wait_random_exponential

API_VERSION: Final = "2026-10-28.endive"
"""Pinned: what our accounts' default version is plays no part, and an upgrade is a change of this line with its tests."""

KEY_KEPT_S: Final = 24 * 3600
"""Stripe remembers an idempotency key for at least so long."""

FORGERIES: Final = ("unsigned", "wrong_signature", "too_old", "unreadable")
_MESSAGE_MAX = 300
_PAGE = 100
_CLOCK_DRIFT_S = 300

Params = Mapping[str, Any]
Object = dict[str, Any]
_Ask = Callable[..., Awaitable[Any]]


class StripeFault(Exception):
    """Something between Stripe and us went wrong; the text is fit to be shown to an operator."""

    code: str = ""


class StripeAway(StripeFault):
    """Not answered, or asked to come back later."""

    def __init__(self, why: str, retry_after_s: int = 0) -> None:
        super().__init__(why)
        self.retry_after_s = retry_after_s


class StripeBroken(StripeAway):
    """Answered with a 5xx: it may or may not have taken effect, and the same key gets the same answer."""


class StripeRefused(StripeFault):
    """A request that is wrong."""

    def __init__(self, why: str, *, code: str, param: str, status: int) -> None:
        super().__init__(why)
        self.code, self.param, self.status = code, param, status


class StripeLocked(StripeFault):
    """A key that is not accepted."""


class ForgedWebhook(ValueError):
    """A delivery that nobody proved to be Stripe's."""

    def __init__(self, why: str) -> None:
        super().__init__(f"this webhook is not accepted: {why}")
        self.why = why


class Stripe:
    """Stripe's API, as far as we use it. Every write has an idempotency key of ours."""

    def __init__(
        self,
        api_key: str,
        *,
        base_url: str | None,
        timeout_ms: int,
        attempts: int,
        pause_max_s: int = 2,
        pages_max: int = 1000,
    ) -> None:
        stripe.enable_telemetry = False  # it would tell Stripe about this machine
        addresses: Any = (
            dict.fromkeys(("api", "connect", "files", "meter_events"), base_url.rstrip("/")) if base_url else None
        )
        self._http = HTTPXClient(timeout=timeout_ms / 1000)
        client = StripeClient(
            api_key,
            stripe_version=API_VERSION,
            base_addresses=addresses,
            max_network_retries=0,  # retried here, where the bound and the pause are ours
            http_client=self._http,
        )
        self._v1 = client.v1
        self._api_key = api_key
        self._attempts = attempts
        self._pause_max_s = pause_max_s
        self._pages_max = pages_max

    async def close(self) -> None:
        await self._http.close_async()  # type: ignore[no-untyped-call]

    # ---- writes ---------------------------------------------------------------------------------------------------------------

    async def create_customer(self, params: Params, key: str) -> Object:
        return await self._write(self._v1.customers.create_async, params, key)

    async def change_customer(self, customer: str, params: Params, key: str) -> Object:
        return await self._write(partial(self._v1.customers.update_async, customer), params, key)

    async def create_invoice(self, params: Params, key: str) -> Object:
        return await self._write(self._v1.invoices.create_async, params, key)

    async def add_lines(self, invoice: str, params: Params, key: str) -> Object:
        """All lines of a draft at once: either all of them are there, or none."""
        return await self._write(partial(self._v1.invoices.add_lines_async, invoice), params, key)

    async def finalize_invoice(self, invoice: str, params: Params, key: str) -> Object:
        return await self._write(partial(self._v1.invoices.finalize_invoice_async, invoice), params, key)

    async def send_invoice(self, invoice: str, params: Params, key: str) -> Object:
        return await self._write(partial(self._v1.invoices.send_invoice_async, invoice), params, key)

    async def void_invoice(self, invoice: str, params: Params, key: str) -> Object:
        return await self._write(partial(self._v1.invoices.void_invoice_async, invoice), params, key)

    async def create_credit_note(self, params: Params, key: str) -> Object:
        return await self._write(self._v1.credit_notes.create_async, params, key)

    async def create_refund(self, params: Params, key: str) -> Object:
        return await self._write(self._v1.refunds.create_async, params, key)

    async def create_checkout(self, params: Params, key: str) -> Object:
        return await self._write(self._v1.checkout.sessions.create_async, params, key)

    async def create_meter_event(self, params: Params, key: str) -> Object:
        return await self._write(self._v1.billing.meter_events.create_async, params, key)

    async def create_transfer(self, params: Params, key: str) -> Object:
        return await self._write(self._v1.transfers.create_async, params, key)

    async def reverse_transfer(self, transfer: str, params: Params, key: str) -> Object:
        return await self._write(partial(self._v1.transfers.reversals.create_async, transfer), params, key)

    # ---- reads ----------------------------------------------------------------------------------------------------------------

    async def invoice(self, invoice: str) -> Object:
        return await self._ask(partial(self._v1.invoices.retrieve_async, invoice), {}, None)

    async def checkout(self, session: str) -> Object:
        return await self._ask(partial(self._v1.checkout.sessions.retrieve_async, session), {}, None)

    async def customers(self, params: Params) -> list[Object]:
        return await self._all(self._v1.customers.list_async, params)

    async def invoices(self, params: Params) -> list[Object]:
        return await self._all(self._v1.invoices.list_async, params)

    async def lines(self, invoice: str) -> list[Object]:
        return await self._all(partial(self._v1.invoices.line_items.list_async, invoice), {})

    async def invoice_payments(self, params: Params) -> list[Object]:
        return await self._all(self._v1.invoice_payments.list_async, params)

    async def credit_notes(self, params: Params) -> list[Object]:
        return await self._all(self._v1.credit_notes.list_async, params)

    async def refunds(self, params: Params) -> list[Object]:
        return await self._all(self._v1.refunds.list_async, params)

    async def checkouts(self, params: Params) -> list[Object]:
        return await self._all(self._v1.checkout.sessions.list_async, params)

    async def transfers(self, params: Params) -> list[Object]:
        return await self._all(self._v1.transfers.list_async, params)

    async def meters(self) -> list[Object]:
        return await self._all(self._v1.billing.meters.list_async, {})

    async def meter_sums(self, meter: str, params: Params) -> list[Object]:
        return await self._all(partial(self._v1.billing.meters.event_summaries.list_async, meter), params)

    # ---- how it is asked ------------------------------------------------------------------------------------------------------

    async def _write(self, ask: _Ask, params: Params, key: str) -> Object:
        return await self._ask(ask, params, key)

    async def _all(self, ask: _Ask, params: Params) -> list[Object]:
        """Every page of a list, oldest request bound first: at most `pages_max` of them, more is a fault and not a short list."""
        found: list[Object] = []
        after: dict[str, str] = {}
        for _ in range(self._pages_max):
            page = await self._ask(ask, {**params, "limit": _PAGE, **after}, None)
            found += page["data"]
            if not page["has_more"]:
                return found
            after = {"starting_after": found[-1]["id"]}
        raise StripeAway(f"a list of more than {self._pages_max * _PAGE} objects")

    async def _ask(self, ask: _Ask, params: Params, key: str | None) -> Object:
        """One request, a few times if that can do no harm."""
        retrying = AsyncRetrying(
            stop=stop_after_attempt(self._attempts),
            wait=self._pause_s,
            retry=retry_if_exception_type(StripeAway) if key is None else _retry_if_repeatable,
            reraise=True,
        )
        async for attempt in retrying:
            with attempt:
                return await self._once(ask, params, key)
        raise StripeAway("not asked")  # tenacity raises the last fault before this

    def _pause_s(self, state: RetryCallState) -> Any:
        fault = state.outcome.exception() if state.outcome else None
        asked_s = fault.retry_after_s if isinstance(fault, StripeAway) else 0
        drawn = wait_random_exponential(multiplier=1, max=self._pause_max_s)(state) / 4
        return max(drawn, min(asked_s, self._pause_max_s))

    async def _once(self, ask: _Ask, params: Params, key: str | None) -> Object:
        options = {} if key is None else {"idempotency_key": key}
        try:
            answer = await ask(dict(params), options)
        except stripe.StripeError as error:
            raise self._fault(error) from None
        shown: Object = answer.to_dict()
        return shown

    def _fault(self, error: stripe.StripeError) -> StripeFault:
        status = error.http_status or 0
        named = f" ({error.request_id})" if error.request_id else ""
        text = (error.user_message or type(error).__name__).replace(self._api_key, "…")[:_MESSAGE_MAX] + named
        if isinstance(error, stripe.APIConnectionError) or status == 0:
            return StripeAway(f"no answer: {type(error.__cause__ or error).__name__}")
        if status == 429 or status == 409:
            return StripeAway(text, _whole_seconds(error.headers))
        if status >= 500:
            return StripeBroken(text)
        if status in (401, 403):
            return StripeLocked(text)
        code = getattr(error, "code", None) or (
            "idempotency_error" if isinstance(error, stripe.IdempotencyError) else ""
        )
        return StripeRefused(text, code=code, param=getattr(error, "param", None) or "", status=status)


def check_webhook(body: bytes, header: str | None, secret: str, *, now_s: int, age_max_s: int) -> None:
    """That a delivery was signed with our secret, a short while ago. `now_s` is the world's time: Stripe signs with it.

    Raises `ForgedWebhook`.
    """
    if not header:
        raise ForgedWebhook("unsigned")
    try:
        WebhookSignature.verify_header(body, header, secret, tolerance=None)
    except stripe.SignatureVerificationError:
        raise ForgedWebhook("wrong_signature") from None
    except UnicodeDecodeError:
        raise ForgedWebhook("unreadable") from None
    signed_s = next(int(part[2:]) for part in header.split(",") if part.startswith("t="))
    if signed_s < now_s - age_max_s or signed_s > now_s + _CLOCK_DRIFT_S:
        raise ForgedWebhook("too_old")


def _repeatable(error: BaseException) -> bool:
    return isinstance(error, StripeAway) and not isinstance(error, StripeBroken)


def _retry_if_repeatable(state: RetryCallState) -> bool:
    """May a write be sent again at once, under its key? Not after a 5xx, which would only be told again."""
    error = state.outcome.exception() if state.outcome else None
    return error is not None and _repeatable(error)


def _whole_seconds(headers: Mapping[str, str] | None) -> int:
    text = (headers or {}).get("retry-after", "")
    return int(text) if text.isascii() and text.isdigit() else 0
