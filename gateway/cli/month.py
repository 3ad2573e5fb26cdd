"""`solar-gateway month`: closing one, and seeing one under other prices. Exit codes: as in `terminal.py`.

A close may take long: while it runs its progress is asked for and shown. It may be stopped and repeated at any point.
"""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

from billing.periods import Month
from gateway.cli.operator_client import DEFAULT_URL, WrongArgument
from gateway.cli.prices import read_card
from gateway.cli.shares import SHARES
from gateway.cli.terminal import AsJson, OfAccount, Url, operator, print_json, print_table, say, waiting

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
_REPLAYED = {
    "account": "account",
    "calls of": "billing_month",
    "model": "model",
    "kind": "kind",
    "quantity": "quantity",
    "price": "before.unit_price",
    "new price": "after.unit_price",
    "off": "before.discount",
    "new off": "after.discount",
    "before": "before.amount",
    "after": "after.amount",
    "difference": "difference",
}


@app.command()
def close(
    month: Annotated[str, typer.Argument(metavar="YYYY-MM")],
    draft: Annotated[bool, typer.Option("--draft", help="Only show what a close would do; any time will do.")] = False,
    url: Url = DEFAULT_URL,
    as_json: AsJson = False,
) -> None:
    """Issue a month's invoices and compute its shares. Repeating it changes nothing."""
    with operator(url) as gateway, operator(url) as asked:

        def so_far() -> tuple[int, int]:
            state = asked.get("months", month).value
            return state["invoices"] + state["shared"], state["accounts"] + 1

        with waiting(f"{'Drafting' if draft else 'Closing'} {_checked(month)}", None if draft else so_far):
            answer = gateway.post("months", month, "close", body={"draft": draft}, answer_s=_CLOSE_S)
        if as_json:
            print_json(answer)
            return
        _print_closed(answer.value)


@app.command()
def replay(
    month: Annotated[str, typer.Argument(metavar="YYYY-MM")],
    card: Annotated[
        str | None, typer.Option(metavar="FILE", help="Another rate card, as `prices add` takes one; `-` reads stdin.")
    ] = None,
    discount: Annotated[
        str | None, typer.Option(metavar="RATIO", help="Another discount on every line, such as 0.20.")
    ] = None,
    account: OfAccount = None,
    url: Url = DEFAULT_URL,
    as_json: AsJson = False,
) -> None:
    """What a month would have come to under another card or discount, line by line. Changes nothing."""
    with operator(url) as gateway:
        if card is None and discount is None:
            raise WrongArgument("--card or --discount: name what the month is to be seen under")
        body = {
            "card": None if card is None else json.loads(read_card(card)),
            "discount": discount,
            "account_id": account,
        }
        with waiting(f"Replaying {_checked(month)}"):
            answer = gateway.post("months", month, "replay", body=body, answer_s=_CLOSE_S)
        if as_json:
            print_json(answer)
            return
        seen = answer.value
        lines = [{**line, "account": one["account_id"]} for one in seen["accounts"] for line in one["lines"]]
        print_table(lines, _REPLAYED, f"{seen['month']} line by line, in {seen['currency']}")
        say(f"before {seen['before']}, after {seen['after']}, difference {seen['difference']} {seen['currency']}")


def _print_closed(closed: dict[str, Any]) -> None:
    of = f"of {closed['month']}" + (", as a close would make them" if closed["draft"] else "")
    print_table(closed["invoices"], _INVOICES, f"Invoices {of}")
    print_table(closed["shares"], SHARES, f"Shares {of}")


def _checked(month: str) -> str:
    try:
        return str(Month.parse(month))
    except ValueError as error:
        raise WrongArgument(f"{error}") from None
