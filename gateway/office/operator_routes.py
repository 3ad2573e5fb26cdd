"""All operator routes. Who may use which stands in gateway/operators/roles.py; tests/tidy holds the two against one another."""

from __future__ import annotations

from typing import Any

from gateway.edge.finance import FINANCE
from gateway.edge.keys import AccountKeys, Keys
from gateway.edge.operator import Accounts
from gateway.edge.pricing import PRICING
from gateway.office.club import CLUB
from gateway.office.erasure import ERASURE
from gateway.office.invoices import INVOICES
from gateway.office.ledger import LEDGER
from gateway.office.months import MONTHS
from gateway.office.operators import OPERATORS
from gateway.office.reconcile import RECONCILE
from gateway.office.shares import SHARES
from gateway.office.stripe import STRIPE

OPERATOR_ROUTES: list[Any] = [
    Accounts,
    AccountKeys,
    Keys,
    *PRICING,
    *FINANCE,
    *SHARES,
    *INVOICES,
    *CLUB,
    *MONTHS,
    *LEDGER,
    *RECONCILE,
    *OPERATORS,
    *ERASURE,
    *STRIPE,
]
