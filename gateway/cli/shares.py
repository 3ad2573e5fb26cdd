"""`solar-gateway shares`: what partners earned, and by which plan. Exit codes: as in `terminal.py`."""

from __future__ import annotations

from typing import Annotated

import typer

from billing.share.rules import RULES
from gateway.cli.accounts import given
from gateway.cli.operator_client import DEFAULT_URL
from gateway.cli.terminal import (
    ROWS_MAX,
    AsJson,
    OfAccount,
    OfMonth,
    RowsMax,
    Url,
    operator,
    print_list,
    print_one,
)

app = typer.Typer(no_args_is_help=True, help="What partners earned, and by which plan.")

SHARES = {
    "month": "month",
    "account": "account_id",
    "pool": "pool",
    "weight": "weight",
    "amount": "amount",
    "carried in": "carried_in",
    "carried over": "carried_over",
    "payout": "payout",
    "currency": "currency",
    "rule": "rule",
}
_PLANS = {
    "id": "id",
    "from month": "effective_month",
    "pool rate": "pool_rate",
    "rule": "rule",
    "minimum payout": "minimum_payout",
    "payer cap": "payer_cap",
}


@app.command("list")
def listed(
    month: OfMonth = None,
    account: OfAccount = None,
    limit: RowsMax = ROWS_MAX,
    url: Url = DEFAULT_URL,
    as_json: AsJson = False,
) -> None:
    """What partners earned, by month and account; `--json` tells each step of why."""
    with operator(url) as gateway:
        answer = gateway.listed("shares", rows_max=limit, query={"month": month, "account": account})
        print_list(answer, SHARES, as_json, "Shares")


@app.command("plan-add")
def plan_add(
    effective_month: Annotated[str, typer.Argument(metavar="YYYY-MM", help="The first month it holds for.")],
    pool_rate: Annotated[str, typer.Option(metavar="RATIO", help="The shared part of net revenue, such as 0.20.")],
    rule: Annotated[str | None, typer.Option(help=f"One of {', '.join(RULES)}; default pro_rata.")] = None,
    minimum_payout: Annotated[str | None, typer.Option(metavar="AMOUNT", help="Less is carried over.")] = None,
    payer_cap: Annotated[
        str | None, typer.Option(metavar="AMOUNT", help="For capped_pro_rata: the most that one payer puts up a month.")
    ] = None,
    url: Url = DEFAULT_URL,
    as_json: AsJson = False,
) -> None:
    """State how much of the revenue is shared, from a month on."""
    with operator(url) as gateway:
        fields = {
            "effective_month": effective_month,
            "pool_rate": pool_rate,
            "rule": rule,
            "minimum_payout": minimum_payout,
            "payer_cap": payer_cap,
        }
        print_one(gateway.post("share-plans", body=given(fields)), as_json, "Share plan added")


@app.command()
def plans(url: Url = DEFAULT_URL, as_json: AsJson = False) -> None:
    """The plans that were stated."""
    with operator(url) as gateway:
        print_list(gateway.listed("share-plans", rows_max=ROWS_MAX), _PLANS, as_json, "Share plans")
