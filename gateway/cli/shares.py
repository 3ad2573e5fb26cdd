"""`solar-gateway shares`: what partners earned, and by which plan. Exit codes: as in `terminal.py`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, TypeAlias

import typer

from billing.share.rules import RULES
from gateway.cli.accounts import given
from gateway.cli.invoices import Format
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
_PAYOUTS = {
    "id": "id",
    "account": "account_id",
    "month": "month",
    "usd": "usd",
    "currency": "currency",
    "rate": "fx_rate",
    "amount": "amount",
    "paper": "tax_paper",
    "vat": "vat",
    "withheld": "withheld",
    "payable": "payable",
    "reverses": "reverses",
}
_LEFT_OUT = {"account": "account_id", "month": "month", "usd": "usd", "why": "why", "detail": "detail"}
_HOLDS = {"id": "id", "account": "account_id", "reason": "reason", "placed": "placed_at", "released": "released_at"}
_Month: TypeAlias = Annotated[str, typer.Argument(metavar="YYYY-MM", help="The statement's month.")]
_Reason: TypeAlias = Annotated[str, typer.Option(help="Why; it stands in the audit log.")]
_Form: TypeAlias = Annotated[Format | None, typer.Option("--format", help="As a file of this kind.")]
_Output: TypeAlias = Annotated[Path | None, typer.Option(metavar="FILE", help="Write it there instead of to stdout.")]


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
    month: _Month,
    account: AccountId,
    format: _Form = None,
    output: _Output = None,
    url: Url = DEFAULT_URL,
    as_json: AsJson = False,
) -> None:
    """One statement with each step of why, down to payers and invoices (the partner sees numbers in their place)."""
    with operator(url) as gateway:
        if format not in (None, Format.json):
            _deliver(gateway.get("shares", month, account, accept=format.media_type), format, output)
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
def pools(month: _Month, url: Url = DEFAULT_URL, as_json: AsJson = False) -> None:
    """How a month was shared out: every payer's pools, and what stayed with the house."""
    with operator(url) as gateway:
        print_list(gateway.get("shares", month, "pools"), _POOLS, as_json, "Pools, in USD")


@app.command()
def review(month: _Month, url: Url = DEFAULT_URL, as_json: AsJson = False) -> None:
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


@app.command("payee-set")
def payee_set(
    account: AccountId,
    name: Annotated[str, typer.Option(help="The legal name.")],
    kind: Annotated[str, typer.Option(help="business or individual.")],
    destination: Annotated[list[str], typer.Option(metavar="NAME=TEXT", help="Such as kind=bank account=110-000.")],
    country: Annotated[str, typer.Option(metavar="CC")] = "KR",
    currency: Annotated[str, typer.Option()] = "KRW",
    registration_number: Annotated[str | None, typer.Option(metavar="NUMBER", help="Of a business.")] = None,
    url: Url = DEFAULT_URL,
    as_json: AsJson = False,
) -> None:
    """State whom an account's shares are paid to."""
    with operator(url) as gateway:
        parts = [text.partition("=") for text in destination]
        if not all(is_there and name_ for name_, is_there, _ in parts):
            raise WrongArgument("--destination: is NAME=TEXT, such as kind=bank")
        body = {
            "legal_name": name,
            "kind": kind,
            "country": country,
            "currency": currency,
            "registration_number": registration_number,
            "destination": {name_: text for name_, _, text in parts},
        }
        print_one(gateway.post("accounts", account, "payee", body=given(body)), as_json, "Payee set")


@app.command()
def payee(account: AccountId, url: Url = DEFAULT_URL, as_json: AsJson = False) -> None:
    """Whom an account's shares are paid to."""
    with operator(url) as gateway:
        print_one(gateway.get("accounts", account, "payee"), as_json, "Payee")


@app.command()
def pay(month: _Month, url: Url = DEFAULT_URL, as_json: AsJson = False) -> None:
    """Make a payout of everything that is due up to a month; repeating it pays nothing twice."""
    with operator(url) as gateway:
        answer = gateway.post("payouts", body={"month": month})
        if as_json:
            print_json(answer)
            return
        print_table(answer.value["data"], _PAYOUTS, "Payouts made")
        print_table(answer.value["left_out"], _LEFT_OUT, "\nLeft out")


@app.command()
def payouts(
    month: OfMonth = None,
    account: OfAccount = None,
    limit: RowsMax = ROWS_MAX,
    format: _Form = None,
    output: _Output = None,
    url: Url = DEFAULT_URL,
    as_json: AsJson = False,
) -> None:
    """What was paid; `--format csv` is finance's payout file, whole."""
    with operator(url) as gateway:
        query = {"month": month, "account": account}
        if format is Format.csv:
            _deliver(gateway.get("payouts", query=query, accept=format.media_type), format, output)
            return
        answer = gateway.listed("payouts", rows_max=limit, query=query)
        print_list(answer, _PAYOUTS, as_json or format is not None, "Payouts")


@app.command()
def reverse(
    payout: Annotated[str, typer.Argument(metavar="PAYOUT")],
    reason: _Reason,
    url: Url = DEFAULT_URL,
    as_json: AsJson = False,
) -> None:
    """Undo a payout that came back: what it paid is due again."""
    with operator(url) as gateway:
        print_one(gateway.post("payouts", payout, "reverse", body={"reason": reason}), as_json, "Payout reversed")


@app.command()
def hold(account: AccountId, reason: _Reason, url: Url = DEFAULT_URL, as_json: AsJson = False) -> None:
    """Stop an account's payouts; nothing is lost."""
    with operator(url) as gateway:
        answer = gateway.post("accounts", account, "payout-holds", body={"reason": reason})
        print_one(answer, as_json, "Payouts held")


@app.command()
def release(
    hold: Annotated[str, typer.Argument(metavar="HOLD")],
    reason: _Reason,
    url: Url = DEFAULT_URL,
    as_json: AsJson = False,
) -> None:
    """Let an account's payouts go on."""
    with operator(url) as gateway:
        print_one(gateway.post("payout-holds", hold, "release", body={"reason": reason}), as_json, "Hold released")


@app.command()
def holds(url: Url = DEFAULT_URL, as_json: AsJson = False) -> None:
    """The holds that were placed, and how they ended."""
    with operator(url) as gateway:
        print_list(gateway.get("payout-holds"), _HOLDS, as_json, "Holds")


def _deliver(answer: Answer, form: Format, output: Path | None) -> None:
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
