"""`solar-gateway month`: closing one, and seeing one under other prices; `solar-gateway reconcile`: the ledger against what upstream
asks for. Exit codes: as in `terminal.py`.

A close may take long: while it runs its progress is asked for and shown. It may be stopped and repeated at any point.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from billing.periods import Month
from gateway.cli.finance.prices import read_card
from gateway.cli.finance.shares import SHARES
from gateway.cli.operator_client import DEFAULT_URL, WrongArgument
from gateway.cli.terminal import (
    AsJson,
    OfAccount,
    Url,
    operator,
    print_json,
    print_line,
    print_one,
    print_table,
    say,
    waiting,
)
from gateway.settings import MIB

app = typer.Typer(no_args_is_help=True, help="Closing a month: its invoices and its shares.")
reconcile = typer.Typer(no_args_is_help=True, help="The ledger against what upstream asks for.")

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
_EXPORT_MAX_BYTES = 32 * MIB
_FINDINGS = {
    "difference": "name",
    "from": "from",
    "to": "to",
    "key": "upstream_key",
    "model": "model",
    "kind": "kind",
    "calls": "calls",
    "tokens or pages": "quantity",
    "USD": "amount",
    "evidence": "evidence",
}
_TOTALS = ("upstream", "expected", "difference", "residue", "residue_max", "residue_ratio", "agrees")


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


@reconcile.command("import")
def import_export(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="CSV; its format: billing/reconcile/README.md.")],
    month: Annotated[str, typer.Option(metavar="YYYY-MM")],
    zone: Annotated[str, typer.Option(help="In which the export's days begin and end.")] = "UTC",
    url: Url = DEFAULT_URL,
    as_json: AsJson = False,
) -> None:
    """Keep upstream's usage export of a month; the newest one is compared."""
    with operator(url) as gateway:
        try:
            raw = file.read_bytes()
        except OSError as error:
            raise WrongArgument(f"{file}: {error.strerror or error}") from None
        if len(raw) > _EXPORT_MAX_BYTES:
            raise WrongArgument(f"{file}: more than {_EXPORT_MAX_BYTES} bytes")
        query = {"month": month, "zone": zone}
        answer = gateway.post("reconciliation", body=raw, content_type="text/csv", query=query)
        print_one(answer, as_json, "Export imported")


@reconcile.command()
def show(
    month: Annotated[str, typer.Argument(metavar="YYYY-MM")], url: Url = DEFAULT_URL, as_json: AsJson = False
) -> None:
    """Each difference by its name, the residue with its bound, and what to do."""
    with operator(url) as gateway:
        with waiting(f"Comparing {month}"):
            answer = gateway.get("reconciliation", query={"month": month})
        if as_json:
            print_json(answer)
            return
        report: dict[str, Any] = answer.value
        print_table(report["findings"], _FINDINGS, f"Differences of {month}")
        for name in _TOTALS:
            if name in report:
                value = report[name]
                told = f"{value['cost']} USD, {value['calls']:,} calls" if isinstance(value, dict) else value
                print_line(f"{name.replace('_', ' ')}: {told}")
        for what in report["what_to_do"]:
            print_line(what)


def _checked(month: str) -> str:
    try:
        return str(Month.parse(month))
    except ValueError as error:
        raise WrongArgument(f"{error}") from None
