"""`solar-gateway invoices`: what was billed, for people and for other programs. Exit codes: as in `terminal.py`.

An export is the gateway's own rendering, byte for byte; which formats exist is the gateway's to say (it refuses with
`not_acceptable`).
"""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, TypeAlias

import typer

from gateway.cli.operator_client import DEFAULT_URL, WrongArgument
from gateway.cli.terminal import (
    ROWS_MAX,
    AsJson,
    OfAccount,
    OfMonth,
    RowsMax,
    Url,
    operator,
    print_fields,
    print_json,
    print_list,
    print_table,
    say,
)

app = typer.Typer(no_args_is_help=True, help="What was billed, for people and for other programs.")

InvoiceId: TypeAlias = Annotated[str, typer.Argument(metavar="INVOICE", help="The invoice's id (not its number).")]
_COLUMNS = {
    "id": "id",
    "number": "number",
    "account": "account_id",
    "month": "month",
    "status": "status",
    "subtotal": "subtotal",
    "tax": "tax",
    "total": "total",
    "currency": "currency",
    "issued": "issued_at",
}
_LINES = {
    "description": "description",
    "model": "model",
    "kind": "kind",
    "quantity": "quantity",
    "unit price, USD": "unit_price",
    "per": "unit",
    "discount": "discount",
    "exact": "exact_amount",
    "amount": "amount",
}

_CREDITED = {"line": "line", "model": "model", "amount": "amount", "exact, USD": "exact_usd"}
_CREDITS = {
    "id": "id",
    "number": "number",
    "invoice": "invoice_id",
    "account": "account_id",
    "booked in": "booked_month",
    "subtotal": "subtotal",
    "tax": "tax",
    "total": "total",
    "currency": "currency",
    "reason": "reason",
}


class Format(StrEnum):
    """What an invoice can be asked for as."""

    json = "json"
    csv = "csv"
    pdf = "pdf"

    @property
    def media_type(self) -> str:
        return "text/csv" if self is Format.csv else f"application/{self.value}"


@app.command("list")
def listed(
    month: OfMonth = None,
    account: OfAccount = None,
    limit: RowsMax = ROWS_MAX,
    url: Url = DEFAULT_URL,
    as_json: AsJson = False,
) -> None:
    """Invoices, by number."""
    with operator(url) as gateway:
        answer = gateway.listed("invoices", rows_max=limit, query={"month": month, "account": account})
        print_list(answer, _COLUMNS, as_json, "Invoices")


@app.command()
def show(invoice: InvoiceId, url: Url = DEFAULT_URL, as_json: AsJson = False) -> None:
    """One invoice with its lines."""
    with operator(url) as gateway:
        answer = gateway.get("invoices", invoice)
        if as_json:
            print_json(answer)
            return
        found = answer.value
        lines = found.pop("lines")
        print_fields(found, "Invoice")
        print_table(lines, _LINES, f"\nLines, in {found['currency']}")


@app.command()
def credit(
    invoice: InvoiceId,
    reason: Annotated[str, typer.Option(help="Why; the customer reads it.")],
    line: Annotated[
        list[str],
        typer.Option(metavar="N=AMOUNT", help="A line of the invoice and what is taken back of it, without tax."),
    ],
    url: Url = DEFAULT_URL,
    as_json: AsJson = False,
) -> None:
    """Issue a credit note: the tax is worked out, and the sum never passes the invoice."""
    with operator(url) as gateway:
        body = {"reason": reason, "lines": [_line_of(text) for text in line]}
        answer = gateway.post("invoices", invoice, "credit-notes", body=body)
        if as_json:
            print_json(answer)
            return
        note = answer.value
        lines = note.pop("lines")
        print_fields(note, "Credit note")
        print_table(lines, _CREDITED, f"\nLines, in {note['currency']}")


@app.command("credits")
def credit_notes(
    invoice: Annotated[str | None, typer.Option(metavar="ID", help="Of this invoice only.")] = None,
    month: Annotated[str | None, typer.Option(metavar="YYYY-MM", help="That lessen this month's revenue.")] = None,
    account: OfAccount = None,
    limit: RowsMax = ROWS_MAX,
    url: Url = DEFAULT_URL,
    as_json: AsJson = False,
) -> None:
    """Credit notes, by number."""
    with operator(url) as gateway:
        if invoice is None:
            answer = gateway.listed("credit-notes", rows_max=limit, query={"month": month, "account": account})
        else:
            answer = gateway.listed("invoices", invoice, "credit-notes", rows_max=limit)
        print_list(answer, _CREDITS, as_json, "Credit notes")


@app.command()
def export(
    invoice: InvoiceId,
    format: Annotated[Format | None, typer.Option("--format", help="Default json.")] = None,
    output: Annotated[Path | None, typer.Option(metavar="FILE", help="Write it there instead of to stdout.")] = None,
    url: Url = DEFAULT_URL,
    as_json: Annotated[bool, typer.Option("--json", help="The same as `--format json`.")] = False,
) -> None:
    """One invoice as the gateway renders it, byte for byte."""
    with operator(url) as gateway:
        if as_json and format not in (None, Format.json):
            raise WrongArgument("--json: is another format than --format names")
        wanted = format or Format.json
        if wanted is Format.pdf and output is None and sys.stdout.isatty():
            raise WrongArgument("--output: a PDF is not for the terminal; name a file")
        answer = gateway.get("invoices", invoice, accept=wanted.media_type)
        if output is None:
            typer.echo(answer.raw, nl=wanted is Format.json)
            return
        try:
            output.write_bytes(answer.raw)
        except OSError as error:
            raise WrongArgument(f"{output}: {error.strerror or error}") from None
        say(f"{output}: {len(answer.raw):,} bytes written")


def _line_of(text: str) -> dict[str, Any]:
    """`0=1.23` → a line of a credit note; raises `WrongArgument`."""
    line, is_there, amount = text.partition("=")
    if not (is_there and line.isascii() and line.isdigit() and len(line) < 10):
        raise WrongArgument(f"--line: {text!r} is no line and amount such as 0=1.23")
    return {"line": int(line), "amount": amount}
