"""Personal data of an account, taken away where nobody needs it, kept where the law says so, with the day until which it is.

The ledger, its rollups, the audit log, the logs and Redis hold ids alone, and stay as they are (deploy/security.md).
Errors: `NotFound`, `Conflict` (account_open, month_open).
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from litestar import post

from billing.accounts import store as accounts
from billing.accounts.store import AccountOpen
from billing.club.store import erase_notes
from billing.invoice.store import erase_parties
from billing.ledger.read import unclosed_months
from billing.payouts.store import erase_payees
from gateway.alerts.store import erase_secret
from gateway.edge.desk import Desk
from gateway.edge.wire import to_wire_instant
from gateway.errors import Conflict
from gateway.keys.lifecycle import erase_keys

_YEAR_DAYS = 366
"""A year at its longest: rather a few days too long than one too short."""


@post("/accounts/{account_id:str}/erase", status_code=200, tags=["operator"])
async def erase(account_id: str, desk: Desk) -> dict[str, Any]:
    """Take the personal data of a closed account away; says what is kept, and until when. Safe to repeat: later it takes more."""
    now, kept_for = desk.now(), timedelta(days=_YEAR_DAYS * desk.retention_years)
    if not await desk.flushed(account_id):
        raise Conflict(
            "ledger_behind", "The ledger does not hold every settled call of this account yet. Try again soon."
        )
    try:
        async with desk.sessions.begin() as session:
            account = await accounts.erase(session, account_id, desk.actor, now)
            if months := await unclosed_months(session, account_id):
                raise Conflict("month_open", f"{', '.join(months)}: not invoiced yet. Close these months first.")
            keys = await erase_keys(session, account_id, now)
            await erase_secret(session, account_id)
            await erase_notes(session, account_id)
            paid_at = await erase_payees(session, account_id, now - kept_for)
            invoices, issued_at = await erase_parties(session, account_id, now - kept_for)
    except AccountOpen as error:
        raise Conflict("account_open", f"{error}.") from None
    await desk.admission.outdate(account.id, account.epoch)
    kept = [_kept("invoices", issued_at, kept_for), _kept("payees who were paid", paid_at, kept_for)]
    return {"id": account_id, "keys_ended": keys, "invoices_kept": invoices, "kept": [one for one in kept if one]}


def _kept(what: str, newest: datetime | None, kept_for: timedelta) -> dict[str, Any] | None:
    return None if newest is None else {"what": what, "until": to_wire_instant(newest + kept_for)}


ERASURE: list[Any] = [erase]
