"""`solar-gateway shares payee-set|pay|payouts|reverse|hold|release|holds`: whom partners are paid to, payment runs, and what stops them.

Exit codes: as in `terminal.py`.
"""

from __future__ import annotations

from typing import Annotated, TypeAlias

import typer

from gateway.cli.accounts import given
from gateway.cli.finance.invoices import Format
from gateway.cli.finance.shares import Form, Output, StatementMonth, app, deliver
from gateway.cli.operator_client import DEFAULT_URL, WrongArgument
from gateway.cli.terminal import (
    ROWS_MAX,
    AccountId,
    AsJson,
    OfAccount,
    OfMonth,
    RowsMax,
    Url,
    operator,
    print_json,
    print_list,
    print_one,
    print_table,
)

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
_Reason: TypeAlias = Annotated[str, typer.Option(help="Why; it stands in the audit log.")]


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
def pay(month: StatementMonth, url: Url = DEFAULT_URL, as_json: AsJson = False) -> None:
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
    format: Form = None,
    output: Output = None,
    url: Url = DEFAULT_URL,
    as_json: AsJson = False,
) -> None:
    """What was paid; `--format csv` is finance's payout file, whole."""
    with operator(url) as gateway:
        query = {"month": month, "account": account}
        if format is Format.csv:
            deliver(gateway.get("payouts", query=query, accept=format.media_type), format, output)
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
