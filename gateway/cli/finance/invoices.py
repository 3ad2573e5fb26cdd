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

from gateway.cli.operator_client import DEFAULT_URL, OperatorClient, WrongArgument
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
    "line": "position",
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
    """What can be taken away: of an invoice, and of a month (`journal`, `hometax`)."""

    json = "json"
    csv = "csv"
    pdf = "pdf"
    calls = "calls"
    journal = "journal"
    hometax = "hometax"

    @property
    def of_month(self) -> bool:
        return self in (Format.journal, Format.hometax)

    @property
    def media_type(self) -> str:
        return _MEDIA[self.value]


_XLSX = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
_MEDIA = {
    "json": "application/json",
    "csv": "text/csv",
    "pdf": "application/pdf",
    "calls": "text/csv",
    "journal": "text/csv",
    "hometax": _XLSX,
}


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
    invoice: Annotated[
        str | None, typer.Argument(metavar="[INVOICE]", help="The invoice's id (not its number).")
    ] = None,
    format: Annotated[Format | None, typer.Option("--format", help="Default json.")] = None,
    month: Annotated[
        str | None, typer.Option(metavar="YYYY-MM", help="For journal and hometax, which are of a month.")
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write it there instead of to stdout; of several, -1, -2 … are added."),
    ] = None,
    leave_out_incomplete: Annotated[
        bool, typer.Option("--leave-out-incomplete", help="For hometax: go on without customers that cannot be named.")
    ] = False,
    url: Url = DEFAULT_URL,
    as_json: Annotated[bool, typer.Option("--json", help="The same as `--format json`.")] = False,
) -> None:
    """What finance takes away, as the gateway renders it, byte for byte."""
    with operator(url) as gateway:
        if as_json and format not in (None, Format.json):
            raise WrongArgument("--json: is another format than --format names")
        wanted = format or Format.json
        if wanted.of_month and (month is None or invoice is not None):
            raise WrongArgument(f"--month: {wanted.value} is of a month; name it, and no invoice")
        if not wanted.of_month and (invoice is None or month is not None):
            raise WrongArgument(f"INVOICE: {wanted.value} is of one invoice; name it, and no month")
        if wanted is Format.hometax:
            _export_hometax(gateway, month or "", output, leave_out_incomplete)
            return
        if wanted is Format.pdf and output is None and sys.stdout.isatty():
            raise WrongArgument("--output: a PDF is not for the terminal; name a file")
        path = ("months", month or "", "journal") if wanted is Format.journal else ("invoices", invoice or "")
        answer = gateway.get(*path, *(("calls",) if wanted is Format.calls else ()), accept=wanted.media_type)
        if output is None:
            typer.echo(answer.raw, nl=wanted is Format.json)
            return
        _write(output, answer.raw)


def _export_hometax(gateway: OperatorClient, month: str, output: Path | None, leave_out_incomplete: bool) -> None:
    """All files of a month, and a word on each invoice that is in none."""
    if output is None:
        raise WrongArgument("--output: a workbook is not for the terminal; name a file, such as hometax.xlsx")
    asked = {"leave_out_incomplete": "true"} if leave_out_incomplete else {}
    told = gateway.get("months", month, "hometax", query=asked).value
    for part in range(1, told["files"] + 1):
        answer = gateway.get("months", month, "hometax", query={**asked, "part": part}, accept=_XLSX)
        _write(output if told["files"] == 1 else output.with_stem(f"{output.stem}-{part}"), answer.raw)
    for one in told["skipped"]:
        say(f"not among them: {one['number']} of {one['account_id']} ({one['why']})", style="yellow")
    if not told["files"]:
        say("There is no tax invoice in this month; nothing was written.")


def _write(path: Path, raw: bytes) -> None:
    try:
        path.write_bytes(raw)
    except OSError as error:
        raise WrongArgument(f"{path}: {error.strerror or error}") from None
    say(f"{path}: {len(raw):,} bytes written")


def _line_of(text: str) -> dict[str, Any]:
    """`0=1.23` → a line of a credit note; raises `WrongArgument`."""
    line, is_there, amount = text.partition("=")
    if not (is_there and line.isascii() and line.isdigit() and len(line) < 10):
        raise WrongArgument(f"--line: {text!r} is no line and amount such as 0=1.23")
    return {"line": int(line), "amount": amount}
