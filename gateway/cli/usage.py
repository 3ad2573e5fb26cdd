"""`solar-gateway usage`, `calls` and `unreadable`: what was used over all accounts, or by one, from the ledger; each call of a month; what
could not be booked.

Exit codes: as in `terminal.py`.
"""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Annotated, TextIO

import typer

from gateway.cli.operator_client import DEFAULT_URL, WrongArgument
from gateway.cli.terminal import AsJson, OfAccount, Url, operator, print_json, print_table, say

app = typer.Typer()


class Group(StrEnum):
    """What usage can be summed by."""

    account = "account"
    model = "model"
    day = "day"
    key = "key"


@app.command()
def usage(
    by: Annotated[Group, typer.Option(help="A line for each of these.")] = Group.account,
    start: Annotated[
        str | None, typer.Option("--from", metavar="DAY", help="The first day, such as 2026-10-01.")
    ] = None,
    end: Annotated[str | None, typer.Option("--to", metavar="DAY", help="The day after the last.")] = None,
    account: OfAccount = None,
    zone: Annotated[str | None, typer.Option(help="Whose days are meant; default Asia/Seoul.")] = None,
    url: Url = DEFAULT_URL,
    as_json: AsJson = False,
) -> None:
    """What was used, over all accounts; without days, in the running month."""
    with operator(url) as gateway:
        query = {"group_by": by.value, "from": start, "to": end, "account": account, "zone": zone}
        answer = gateway.get("usage", query=query)
        if as_json:
            print_json(answer)
            return
        said = answer.value
        columns = {
            by.value: "group",
            "calls": "calls",
            "input": "input_tokens",
            "cached": "cached_input_tokens",
            "output": "output_tokens",
            "pages": "pages",
            "estimated": "estimated_calls",
            f"list cost, {said['currency']}": "list_cost",
            f"cost, {said['currency']}": "cost",
            f"upstream's, {said['currency']}": "buy_cost",
            f"margin, {said['currency']}": "margin",
        }
        rows = [*said["data"], {**said["total"], "group": "total"}] if said["data"] else []
        print_table(rows, columns, f"Usage by {by.value}")
        if not said["complete"]:
            say("Not complete: calls of the last moments are still on their way to the ledger.", style="yellow")


class Lines(StrEnum):
    """What calls can be written as."""

    ndjson = "ndjson"
    csv = "csv"


@app.command()
def calls(
    month: Annotated[str, typer.Argument(metavar="YYYY-MM", help="The month whose invoices carry them.")],
    account: OfAccount = None,
    form: Annotated[Lines, typer.Option("--format", help="One JSON object a line, or CSV.")] = Lines.ndjson,
    output: Annotated[Path | None, typer.Option(metavar="FILE", help="Write it there instead of to stdout.")] = None,
    url: Url = DEFAULT_URL,
) -> None:
    """Every call of a month, in the order of its proof (billing/ledger/PROOF.md). A page at a time: months of any size."""
    with operator(url) as gateway, _opened(output) as out:
        written = 0
        for row in gateway.every("usage", "calls", query={"month": month, "account": account}):
            if form is Lines.csv:
                if not written:
                    csv.writer(out).writerow(row)
                csv.writer(out).writerow(_cell(value) for value in row.values())
            else:
                out.write(json.dumps(row, ensure_ascii=False) + "\n")
            written += 1
    if output is not None:
        say(f"{output}: {written:,} calls written")


@app.command()
def unreadable(url: Url = DEFAULT_URL, as_json: AsJson = False) -> None:
    """Usage records that could not be read or stored: served, and in no bill yet (deploy/runbook.md, SolarUnreadableRecords)."""
    with operator(url) as gateway:
        answer = gateway.get("unreadable-records")
        if as_json:
            print_json(answer)
            return
        columns = {name: name for name in ("shard", "id", "call_id", "account_id", "reason", "set_aside_at")}
        print_table(answer.value["data"], columns, "Usage records that could not be booked")


@contextmanager
def _opened(path: Path | None) -> Iterator[TextIO]:
    if path is None:
        yield sys.stdout
        return
    try:
        with path.open("w", encoding="utf-8", newline="") as file:
            yield file
    except OSError as error:
        raise WrongArgument(f"{path}: {error.strerror or error}") from None


def _cell(value: object) -> object:
    """A cell that a spreadsheet does not take for a formula."""
    if isinstance(value, bool):
        return str(value).lower()
    if not isinstance(value, str) or value.removeprefix("-").replace(".", "", 1).isdigit():
        return value
    return f"'{value}" if value.startswith(("=", "+", "-", "@", "\t", "\r")) else value
