"""Which role may use which operator route: one table, held against the real routes by a test. Pure.

`admin` may do everything, and alone what is not named here. `finance` closes months and settles prices, rates, shares and payouts.
`support` looks, and changes nothing; what it is not shown are bank details of payees and the audit log.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

ADMIN, FINANCE, SUPPORT = ROLES = ("admin", "finance", "support")

_LOOK: Final = frozenset({FINANCE, SUPPORT})
_MONEY: Final = frozenset({FINANCE})
_ADMIN: Final[frozenset[str]] = frozenset()

PREFIX: Final = "/operator/v1"
ROUTES: Final[Mapping[str, frozenset[str]]] = {
    # ---- accounts and keys
    "GET /accounts": _LOOK,
    "POST /accounts": _ADMIN,
    "GET /accounts/{account_id}": _LOOK,
    "PATCH /accounts/{account_id}": _ADMIN,
    "POST /accounts/{account_id}/erase": _ADMIN,
    "GET /accounts/{account_id}/alerts": _LOOK,
    "GET /accounts/{account_id}/keys": _LOOK,
    "POST /accounts/{account_id}/keys": _ADMIN,
    "GET /keys/{key_id}": _LOOK,
    "PATCH /keys/{key_id}": _ADMIN,
    "DELETE /keys/{key_id}": _ADMIN,
    "POST /keys/{key_id}/rotate": _ADMIN,
    # ---- upstream
    "GET /upstream-keys": _LOOK,
    "GET /lost-attempts": _LOOK,
    # ---- operators
    "GET /operators": _ADMIN,
    "POST /operators": _ADMIN,
    "DELETE /operators/{operator_id}": _ADMIN,
    "GET /audit": _MONEY,
    # ---- the club
    "GET /accounts/{account_id}/contributions": _LOOK,
    "POST /accounts/{account_id}/contributions": _MONEY,
    "GET /accounts/{account_id}/grants": _LOOK,
    "GET /tier-tables": _LOOK,
    "POST /tier-tables": _MONEY,
    "GET /training-manifests": _LOOK,
    "POST /training-manifests": _MONEY,
    # ---- prices and usage
    "GET /rate-cards": _LOOK,
    "POST /rate-cards": _MONEY,
    "GET /fx-rates": _LOOK,
    "POST /fx-rates": _MONEY,
    "POST /fx-rates/import": _MONEY,
    "GET /usage": _LOOK,
    "GET /usage/calls": _LOOK,
    "GET /unreadable-records": _MONEY,
    "GET /ledger/months": _LOOK,
    "GET /ledger/months/{month}/rollups": _LOOK,
    "GET /ledger/months/{month}/proofs": _LOOK,
    "GET /ledger/late": _MONEY,
    "POST /ledger/months/{month}/detach": _ADMIN,
    "POST /ledger/months/{month}/attach": _ADMIN,
    # ---- months, invoices, shares
    "GET /reconciliation": _LOOK,
    "POST /reconciliation": _MONEY,
    "GET /months/{month}": _LOOK,
    "POST /months/{month}/close": _MONEY,
    "POST /months/{month}/replay": _MONEY,
    "GET /months/{month}/journal": _MONEY,
    "GET /months/{month}/hometax": _MONEY,
    "GET /invoices": _LOOK,
    "GET /invoices/{invoice_id}": _LOOK,
    "GET /invoices/{invoice_id}/calls": _LOOK,
    "GET /invoices/{invoice_id}/credit-notes": _LOOK,
    "POST /invoices/{invoice_id}/credit-notes": _MONEY,
    "GET /credit-notes": _LOOK,
    "GET /credit-notes/{note_id}": _LOOK,
    "GET /share-plans": _LOOK,
    "POST /share-plans": _MONEY,
    "GET /shares": _LOOK,
    "GET /shares/{month}/{account_id}": _LOOK,
    "GET /shares/{month}/pools": _LOOK,
    "GET /shares/{month}/review": _MONEY,
    "GET /accounts/{account_id}/payee": _MONEY,
    "POST /accounts/{account_id}/payee": _MONEY,
    "POST /accounts/{account_id}/payout-holds": _MONEY,
    "GET /payout-holds": _MONEY,
    "POST /payout-holds/{hold_id}/release": _MONEY,
    "GET /payouts": _MONEY,
    "POST /payouts": _MONEY,
    "POST /payouts/{payout_id}/reverse": _MONEY,
    # ---- Stripe
    "GET /stripe": _LOOK,
    "GET /stripe/reconciliation": _LOOK,
    "POST /stripe/retry": _MONEY,
    "GET /accounts/{account_id}/top-ups": _LOOK,
    "POST /accounts/{account_id}/top-ups": _MONEY,
    "POST /top-ups/{top_up_id}/refund": _MONEY,
}
"""Method and path below `/operator/v1` → who besides admins."""


def allows(role: str, method: str, path_template: str) -> bool:
    """May this role use a route? `path_template` is the whole path, with its parameters in braces."""
    if role == ADMIN:
        return True
    return role in ROUTES.get(f"{method} {path_template.removeprefix(PREFIX)}", _ADMIN)
