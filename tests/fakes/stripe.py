"""A Stripe of our own that the official library talks to over HTTP: stateful, with idempotency keys, pages, rate limits, and faults.

Requests are held against the library's own types (`stripe_forms`) and against the rules between objects (`stripe_books`). An idempotency
key keeps the answer that was given under it, 500s too, for 24 hours of the fake's clock; other fields under the same key are refused;
what failed validation, was limited or was never begun is not kept. Faults come from `plan` (in order), then by chance (`chances`, seeded).
"""

from __future__ import annotations

import asyncio
import json
import random
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from stripe import WebhookSignature, params
from stripe.params import billing, checkout

from tests.fakes.stripe_books import Books, Object, Refused
from tests.fakes.stripe_forms import BadField, checked, read_form

API_KEY, WEBHOOK_SECRET = "sk_test_fake", "whsec_fake"
FAULTS = ("limited", "reset_before", "reset_after", "silent_after", "broken_before", "broken_after", "unavailable")
"""429; the connection cut before or after it took effect; no answer, after it took effect; a 500 before or after; a 503 at the door."""

_Handler = Callable[[Books, str, Object], Object]
_KEPT_S = 24 * 3600
WRITES: tuple[tuple[str, Any, _Handler], ...] = (
    ("customers", params.CustomerCreateParams, lambda b, _, f: b.create_customer(f)),
    ("customers/([^/]+)", params.CustomerUpdateParams, lambda b, i, f: b.change_customer(i, f)),
    ("invoices", params.InvoiceCreateParams, lambda b, _, f: b.create_invoice(f)),
    ("invoices/([^/]+)/add_lines", params.InvoiceAddLinesParams, lambda b, i, f: b.add_lines(i, f)),
    ("invoices/([^/]+)/finalize", params.InvoiceFinalizeInvoiceParams, lambda b, i, f: b.finalize_invoice(i, f)),
    ("invoices/([^/]+)/send", params.InvoiceSendInvoiceParams, lambda b, i, f: b.send_invoice(i, f)),
    ("invoices/([^/]+)/void", params.InvoiceVoidInvoiceParams, lambda b, i, f: b.void_invoice(i, f)),
    ("credit_notes", params.CreditNoteCreateParams, lambda b, _, f: b.create_credit_note(f)),
    ("refunds", params.RefundCreateParams, lambda b, _, f: b.create_refund(f)),
    ("checkout/sessions", checkout.SessionCreateParams, lambda b, _, f: b.create_checkout(f)),
    ("billing/meter_events", billing.MeterEventCreateParams, lambda b, _, f: b.create_meter_event(f)),
    ("transfers", params.TransferCreateParams, lambda b, _, f: b.create_transfer(f)),
    ("transfers/([^/]+)/reversals", params.TransferCreateReversalParams, lambda b, i, f: b.reverse_transfer(i, f)),
)
LISTS: tuple[tuple[str, str, Any], ...] = (
    ("customers", "customer", params.CustomerListParams),
    ("invoices", "invoice", params.InvoiceListParams),
    ("invoices/([^/]+)/lines", "line_item", params.InvoiceListLinesParams),
    ("invoice_payments", "invoice_payment", params.InvoicePaymentListParams),
    ("credit_notes", "credit_note", params.CreditNoteListParams),
    ("refunds", "refund", params.RefundListParams),
    ("checkout/sessions", "checkout.session", checkout.SessionListParams),
    ("transfers", "transfer", params.TransferListParams),
)
READS = (
    ("invoices/([^/]+)", "invoice"),
    ("checkout/sessions/([^/]+)", "checkout.session"),
    ("customers/([^/]+)", "customer"),
)


@dataclass
class FakeStripe:
    """A running one. What it holds is in `books`; `asked` are the requests that came, as (method, path, form, key)."""

    port: int = 0
    books: Books = field(default_factory=Books)
    plan: list[str] = field(default_factory=list)
    chances: Mapping[str, float] = field(default_factory=dict)
    dice: random.Random = field(default_factory=random.Random)
    silent_s: float = 30.0
    asked: list[tuple[str, str, Object, str | None]] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    _kept: dict[str, tuple[int, str, int, bytes]] = field(default_factory=dict)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @classmethod
    @contextmanager
    def running(cls, **fields: Any) -> Iterator[FakeStripe]:
        """One in a thread of its own, so that any test, and any process, can talk to it."""
        fake, ready, stop = cls(**fields), threading.Event(), asyncio.Event()
        loops: list[asyncio.AbstractEventLoop] = []

        async def serve() -> None:
            server = await asyncio.start_server(fake._serve, "127.0.0.1", 0)
            fake.port = server.sockets[0].getsockname()[1]
            loops.append(asyncio.get_running_loop())
            ready.set()
            await stop.wait()
            server.close()

        thread = threading.Thread(target=asyncio.run, args=(serve(),), daemon=True)
        thread.start()
        assert ready.wait(10)
        try:
            yield fake
        finally:
            loops[0].call_soon_threadsafe(stop.set)
            thread.join(10)

    def signed(
        self, event: Object, *, secret: str = WEBHOOK_SECRET, at_s: int | None = None
    ) -> tuple[bytes, dict[str, str]]:
        """An event as Stripe delivers it: body and headers."""
        body = json.dumps(event, indent=2)
        header = WebhookSignature.generate_signature_header(body, secret, at_s)
        return body.encode(), {"stripe-signature": header, "content-type": "application/json"}

    # ---- HTTP ---------------------------------------------------------------------------------------------------------------

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
                method, target, _ = head[0].split(" ")
                headers = {
                    name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:] if line)
                }
                body = (await reader.readexactly(int(headers.get("content-length", "0")))).decode()
                answer = self._answer(method, target, headers, body)
                if answer is None:
                    return
                if answer == b"":
                    await asyncio.wait_for(reader.read(), self.silent_s)
                    return
                writer.write(answer)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError, TimeoutError):
            return
        finally:
            writer.close()

    def _answer(self, method: str, target: str, headers: Mapping[str, str], body: str) -> bytes | None:
        """The bytes of an answer; None: the connection is cut; empty: nothing is said."""
        fault = self._fault(method)
        if fault == "limited":
            return _http(
                429, _error("Too many requests", kind="rate_limit_error", code="rate_limit"), {"retry-after": "1"}
            )
        if fault == "unavailable":
            return _http(503, _error("Stripe is not there", kind="api_error"))
        if fault == "reset_before":
            return None
        status, answer, more = self._handled(method, target, headers, body, fault)
        if fault == "reset_after":
            return None
        return b"" if fault == "silent_after" else _http(status, answer, more)

    def _fault(self, method: str) -> str:
        named = self.plan.pop(0) if self.plan else ""
        if not named:
            drawn = self.dice.random()
            for name, chance in self.chances.items():
                drawn -= chance
                if drawn < 0:
                    named = name
                    break
        if named:
            self.faults.append(named)
        return named

    def _handled(
        self, method: str, target: str, headers: Mapping[str, str], body: str, fault: str
    ) -> tuple[int, bytes, dict[str, str]]:
        url = urlsplit(target)
        path, text = url.path.removeprefix("/v1/"), body if method == "POST" else url.query
        key = headers.get("idempotency-key")
        if headers.get("authorization") != f"Bearer {API_KEY}":
            return 401, _error("Invalid API Key provided", kind="invalid_request_error"), {}
        if headers.get("stripe-version") != "2026-10-28.endive":
            return 400, _error("This fake speaks one version", kind="invalid_request_error"), {}
        form: Object = {}
        try:
            form = read_form(text)
            self.asked.append((method, path, form, key))
            if method != "POST":
                return 200, self._read(path, form), {}
            return self._written(path, form, key, f"{path}?{text}", fault)
        except BadField as error:
            return 400, _error(str(error), code=error.code, param=error.param), {}
        except Refused as error:
            return error.status, _error(error.message, code=error.code, param=error.param), {}

    def _written(
        self, path: str, form: Object, key: str | None, request: str, fault: str
    ) -> tuple[int, bytes, dict[str, str]]:
        assert key is not None, f"a write without an idempotency key: {path}"
        kept = self._kept.get(key)
        if kept is not None and kept[0] > self.books.now_s() - _KEPT_S:
            if kept[1] != request:
                return (
                    400,
                    _error(
                        "Keys for idempotent requests can only be used with the same parameters",
                        kind="idempotency_error",
                    ),
                    {},
                )
            return kept[2], kept[3], {"idempotent-replayed": "true"}
        name, kind, handler = _found(WRITES, path)
        form = checked(form, kind)
        status, answer = 500, _error("An unknown error occurred", kind="api_error")
        if fault != "broken_before":
            try:
                done = json.dumps(handler(self.books, name, form)).encode()
                if fault != "broken_after":
                    status, answer = 200, done
            except Refused as error:
                status, answer = error.status, _error(error.message, code=error.code, param=error.param)
        self._kept[key] = (self.books.now_s(), request, status, answer)
        return status, answer, {}

    def _read(self, path: str, form: Object) -> bytes:
        for pattern, kind in READS:
            if found := re.fullmatch(pattern, path):
                return json.dumps(self.books.one(kind, found[1])).encode()
        if path == "billing/meters":
            return _page(path, self.books.meters, checked(form, billing.MeterListParams))
        if re.fullmatch("billing/meters/mtr_1/event_summaries", path):
            wanted = checked(form, billing.MeterListEventSummariesParams)
            total = self.books.meter_sum(wanted["customer"], wanted["start_time"], wanted["end_time"])
            return _page(
                path, [{"id": "mtrusg_1", "object": "billing.meter_event_summary", "aggregated_value": total}], {}
            )
        name, kind, filters = _found(LISTS, path)
        wanted = checked(form, filters)
        if name:
            self.books.one("invoice", name)
            wanted["invoice"] = name
        return _page(path, _filtered(self.books.all(str(kind)), wanted), wanted)


def _filtered(objects: list[Object], wanted: Object) -> list[Object]:
    """Newest first, as Stripe lists (lines in their order)."""
    plain = {
        n: v for n, v in wanted.items() if n not in ("limit", "starting_after", "ending_before", "expand", "created")
    }
    since = wanted.get("created", {}).get("gte", 0)
    chosen = [o for o in objects if o["created"] >= since and all(_field(o, n) == v for n, v in plain.items())]
    return chosen if chosen and chosen[0]["object"] == "line_item" else chosen[::-1]


def _field(thing: Object, name: str) -> Any:
    return thing["payment"] if name == "payment" else thing.get(name)


def _page(path: str, objects: list[Object], wanted: Object) -> bytes:
    limit = wanted.get("limit", 10)
    if not 1 <= limit <= 100:
        raise Refused("limit is from 1 to 100", code="parameter_invalid_integer", param="limit")
    if "starting_after" in wanted:
        ids = [thing["id"] for thing in objects]
        if wanted["starting_after"] not in ids:
            raise Refused("No such object", code="resource_missing", param="starting_after")
        objects = objects[ids.index(wanted["starting_after"]) + 1 :]
    more = len(objects) > limit
    return json.dumps({"object": "list", "url": f"/v1/{path}", "data": objects[:limit], "has_more": more}).encode()


def _found(table: tuple[tuple[Any, Any, Any], ...], path: str) -> tuple[str, Any, Any]:
    for pattern, second, third in table:
        if match := re.fullmatch(pattern, path):
            return (match[1] if match.groups() else ""), second, third
    raise Refused(f"Unrecognized request URL (/v1/{path})", status=404)


def _error(message: str, *, kind: str = "invalid_request_error", code: str = "", param: str = "") -> bytes:
    named = {name: value for name, value in (("code", code), ("param", param)) if value}
    return json.dumps({"error": {"type": kind, "message": message, **named}}).encode()


def _http(status: int, body: bytes, more: Mapping[str, str] = {}) -> bytes:
    headers = {"content-type": "application/json", "content-length": str(len(body)), "request-id": "req_fake", **more}
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"HTTP/1.1 {status} Fake\r\n{lines}\r\n".encode() + body
