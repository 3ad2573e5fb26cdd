"""Usage down to the call: pages as JSON, or a whole month streamed as NDJSON or CSV, in the order of the month's proof.

A month is the one whose invoice carries the call. Callers see what is proved (billing/ledger/PROOF.md); operators also what only the
house knows. A stream reads a page at a time and holds nothing in between.
Errors: `InvalidRequest`, `NotAcceptable`, and those of who asks.
"""

from __future__ import annotations

import csv
import io
from collections.abc import AsyncIterator
from typing import Any

import msgspec
from litestar import Request, Response, get
from litestar.response import Stream

from billing.exports.statement import harmless
from billing.ledger.calls import HOUSE_COLUMNS, OWN_COLUMNS, page_calls, stream_calls
from billing.periods import Month
from gateway.edge.desk import LIST_MAX, Desk
from gateway.edge.finance import NotAcceptable, month_of
from gateway.errors import InvalidRequest

_JSON, _NDJSON, _CSV = "application/json", "application/x-ndjson", "text/csv"
_encode = msgspec.json.Encoder().encode


@get("/v1/usage/calls", tags=["account"])
async def own_calls(
    request: Request[Any, Any, Any], desk: Desk, month: str | None = None, after: str | None = None, limit: int = 100
) -> Response[Any]:
    """The own account's calls of a month (default: the running one), as JSON pages, NDJSON or CSV by the Accept header."""
    caller = await desk.caller(request)
    of = month or str(Month.of(desk.now(), caller.zone))
    return await _calls(request, desk, of, caller.account_id, after, limit, house=False)


@get("/usage/calls", tags=["operator"])
async def all_calls(
    request: Request[Any, Any, Any],
    desk: Desk,
    month: str,
    account: str | None = None,
    after: str | None = None,
    limit: int = 100,
) -> Response[Any]:
    """The calls of a month, of all accounts or of one, with upstream's cost and what was absorbed."""
    return await _calls(request, desk, month, account, after, limit, house=True)


async def _calls(
    request: Request[Any, Any, Any],
    desk: Desk,
    month: str,
    account_id: str | None,
    after: str | None,
    limit: int,
    *,
    house: bool,
) -> Response[Any]:
    of, wanted = str(month_of(month)), request.accept.best_match([_JSON, _NDJSON, _CSV])
    if wanted not in (_JSON, _NDJSON, _CSV):
        raise NotAcceptable(f"Calls can be had as {_JSON}, {_NDJSON} or {_CSV}.")
    await desk.flushed()
    if wanted != _JSON:
        pages = stream_calls(desk.sessions, of, account_id, LIST_MAX, house=house)
        if wanted == _NDJSON:
            return Stream(_ndjson(pages), media_type=_NDJSON)
        return Stream(_csv(pages, HOUSE_COLUMNS if house else OWN_COLUMNS), media_type=_CSV)
    try:
        async with desk.sessions() as session:
            rows, cursor = await page_calls(session, of, account_id, after, max(1, min(limit, LIST_MAX)), house=house)
    except ValueError as error:
        raise InvalidRequest(f"after: {error}.", param="after") from None
    return Response({"data": rows, "next": cursor})


async def _ndjson(pages: AsyncIterator[list[dict[str, Any]]]) -> AsyncIterator[bytes]:
    async for rows in pages:
        yield b"".join(_encode(row) + b"\n" for row in rows)


async def _csv(pages: AsyncIterator[list[dict[str, Any]]], columns: tuple[str, ...]) -> AsyncIterator[bytes]:
    out = io.StringIO(newline="")
    writer = csv.DictWriter(out, columns, restval="")
    writer.writeheader()
    async for rows in pages:
        writer.writerows({name: _cell(value) for name, value in row.items()} for row in rows)
        yield out.getvalue().encode()
        out.seek(0)
        out.truncate()


def _cell(value: Any) -> Any:
    if isinstance(value, bool):
        return str(value).lower()
    # Money is text that may begin with a minus sign; any other text that begins like a formula is made harmless.
    return value if not isinstance(value, str) or _is_number(value) else harmless(value)


def _is_number(text: str) -> bool:
    return text.removeprefix("-").replace(".", "", 1).isdigit()
