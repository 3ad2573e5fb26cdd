"""`solar-gateway shares`: what partners earned, and by which plan. Exit codes: as in `terminal.py`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, TypeAlias

import typer

from billing.share.rules import RULES
from gateway.cli.accounts import given
from gateway.cli.finance.invoices import Format
from gateway.cli.operator_client import DEFAULT_URL, Answer, WrongArgument
from gateway.cli.terminal import (
    ROWS_MAX,
    AccountId,
    AsJson,
    OfAccount,
    OfMonth,
    RowsMax,
    Url,
    operator,
    print_fields,
    print_json,
    print_list,
    print_one,
    print_table,
    say,
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
_STEPS = {
    "kind": "kind",
    "payer": "payer",
    "account": "payer_account_id",
    "invoice": "invoice",
    "model": "model",
    "net revenue": "net_revenue",
    "pool": "pool",
    "fraction": "fraction",
    "exact amount": "exact_amount",
}
_POOLS = {
    "payer": "payer",
    "account": "account_id",
    "owner group": "owner_group",
    "invoice": "invoice",
    "model": "model",
    "net revenue": "net_revenue",
    "at list price": "usage_at_list",
    "pool": "pool",
    "house": "with_house",
}
_FED = {
    "owner group": "owner_group",
    "amount": "amount",
    "concentration": "concentration",
    "reciprocal": "reciprocal",
    "related": "related",
    "flags": "flags",
}
_SUGGESTED = {"accounts": "accounts", "owner groups": "owner_groups", "why": "why", "detail": "detail"}
StatementMonth: TypeAlias = Annotated[str, typer.Argument(metavar="YYYY-MM", help="The statement's month.")]
Form: TypeAlias = Annotated[Format | None, typer.Option("--format", help="As a file of this kind.")]
Output: TypeAlias = Annotated[Path | None, typer.Option(metavar="FILE", help="Write it there instead of to stdout.")]


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


@app.command()
def show(
    month: StatementMonth,
    account: AccountId,
    format: Form = None,
    output: Output = None,
    url: Url = DEFAULT_URL,
    as_json: AsJson = False,
) -> None:
    """One statement with each step of why, down to payers and invoices (the partner sees numbers in their place)."""
    with operator(url) as gateway:
        if format not in (None, Format.json):
            deliver(gateway.get("shares", month, account, accept=format.media_type), format, output)
            return
        answer = gateway.get("shares", month, account)
        if as_json or format is Format.json:
            print_json(answer)
            return
        share = answer.value
        steps = share.pop("steps")
        print_fields(share, "Share")
        print_table(steps, _STEPS, "\nSteps, in USD")


@app.command()
def pools(month: StatementMonth, url: Url = DEFAULT_URL, as_json: AsJson = False) -> None:
    """How a month was shared out: every payer's pools, and what stayed with the house."""
    with operator(url) as gateway:
        print_list(gateway.get("shares", month, "pools"), _POOLS, as_json, "Pools, in USD")


@app.command()
def review(month: StatementMonth, url: Url = DEFAULT_URL, as_json: AsJson = False) -> None:
    """Who feeds whose share, the most suspicious first; and accounts that seem to belong to one owner."""
    with operator(url) as gateway:
        answer = gateway.get("shares", month, "review")
        if as_json:
            print_json(answer)
            return
        found = answer.value
        print_table(found["data"], _FED, "Shares by owner group, in USD")
        print_table(found["suggestions"], _SUGGESTED, "\nPerhaps one owner group")
        say(f"Not looked at: {found['not_looked_at']}.")


def deliver(answer: Answer, form: Format, output: Path | None) -> None:
    """A file as the gateway rendered it, byte for byte."""
    if output is None:
        if form is Format.pdf and sys.stdout.isatty():
            raise WrongArgument("--output: a PDF is not for the terminal; name a file")
        typer.echo(answer.raw, nl=False)
        return
    try:
        output.write_bytes(answer.raw)
    except OSError as error:
        raise WrongArgument(f"{output}: {error.strerror or error}") from None
    say(f"{output}: {len(answer.raw):,} bytes written")
