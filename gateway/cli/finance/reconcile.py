"""`solar-gateway reconcile`: the ledger against what upstream asks for. Exit codes: as in `terminal.py`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from gateway.cli.operator_client import DEFAULT_URL, WrongArgument
from gateway.cli.terminal import AsJson, Url, operator, print_json, print_one, print_table, say, waiting
from gateway.settings import MIB

app = typer.Typer(no_args_is_help=True, help="The ledger against what upstream asks for.")

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


@app.command("import")
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


@app.command()
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
                say(f"{name.replace('_', ' ')}: {told}")
        for what in report["what_to_do"]:
            say(what)
