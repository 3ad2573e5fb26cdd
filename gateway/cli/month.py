"""`solar-gateway month`: closing one. Exit codes: as in `terminal.py`. A close may take long; repeating it changes nothing."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from billing.periods import Month
from gateway.cli.operator_client import DEFAULT_URL, WrongArgument
from gateway.cli.shares import SHARES
from gateway.cli.terminal import AsJson, Url, operator, print_json, print_table, waiting

app = typer.Typer(no_args_is_help=True, help="Closing a month: its invoices and its shares.")

_CLOSE_S = 900.0
_INVOICES = {
    "id": "id",
    "number": "number",
    "account": "account_id",
    "status": "status",
    "total": "total",
    "currency": "currency",
}


@app.command()
def close(
    month: Annotated[str, typer.Argument(metavar="YYYY-MM")],
    draft: Annotated[bool, typer.Option("--draft", help="Only show what a close would do; any time will do.")] = False,
    url: Url = DEFAULT_URL,
    as_json: AsJson = False,
) -> None:
    """Issue a month's invoices and compute its shares. Repeating it changes nothing."""
    with operator(url) as gateway:
        with waiting(f"{'Drafting' if draft else 'Closing'} {_checked(month)}"):
            answer = gateway.post("months", month, "close", body={"draft": draft}, answer_s=_CLOSE_S)
        if as_json:
            print_json(answer)
            return
        _print_closed(answer.value)


def _print_closed(closed: dict[str, Any]) -> None:
    of = f"of {closed['month']}" + (", as a close would make them" if closed["draft"] else "")
    print_table(closed["invoices"], _INVOICES, f"Invoices {of}")
    print_table(closed["shares"], SHARES, f"Shares {of}")


def _checked(month: str) -> str:
    try:
        return str(Month.parse(month))
    except ValueError as error:
        raise WrongArgument(f"{error}") from None
