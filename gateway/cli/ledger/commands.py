"""`solar-gateway ledger`: its months in and out, what came too late, its rollups and proofs.

Months of entries are UTC months; proofs and bills go by the month whose invoices carry the calls. Exit codes: as in `terminal.py`;
1 also where rollups or proofs do not agree with the entries.
"""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

from gateway.cli.operator_client import DEFAULT_URL, OperatorClient
from gateway.cli.terminal import (
    AsJson,
    OfAccount,
    RowsMax,
    Url,
    operator,
    print_json,
    print_one,
    print_table,
    say,
    waiting,
)

app = typer.Typer(no_args_is_help=True, help="The ledger's months, rollups and proofs.")

_LONG_S = 900.0
_LATE_ROWS = 100
_MONTHS = {
    "month": "month",
    "state": "state",
    "entries": "entries",
    "cost": "cost",
    "bytes": "bytes",
    "detached": "detached_at",
    "late": "late",
}
_LATE = {"call": "call_id", "account": "account_id", "month": "month", "code": "code", "refused": "refused_at"}
_VERIFIED = {
    "account": "account_id",
    "entries": "entries",
    "found": "entries_found",
    "root": "root",
    "root found": "root_found",
}
_DIFFER = {"table": "table", "line": "line", "measure": "measure", "rollup": "rollup", "entries": "entries"}
OfTheMonth = Annotated[str, typer.Argument(metavar="YYYY-MM")]


@app.command()
def months(url: Url = DEFAULT_URL, as_json: AsJson = False) -> None:
    """The UTC months whose entries the ledger has or had."""
    with operator(url) as gateway:
        answer = gateway.get("ledger", "months")
        if as_json:
            print_json(answer)
        else:
            print_table(answer.value["data"], _MONTHS, "Months of the ledger")


@app.command()
def detach(
    month: OfTheMonth,
    unchecked: Annotated[bool, typer.Option("--unchecked", help="Do not check rollups and proofs first.")] = False,
    url: Url = DEFAULT_URL,
    as_json: AsJson = False,
) -> None:
    """Take a month's entries out of the ledger, after a last check of its rollups and proofs (they can be checked no later)."""
    with operator(url) as gateway:
        if not unchecked:
            with waiting(f"Checking the rollups of {month}"):
                rollups = gateway.get("ledger", "months", month, "rollups", answer_s=_LONG_S).value
            if not rollups["agree"]:
                _print_differences(rollups)
            broken = [each for each in _verified(gateway, month, None) if not each["holds"]]
            if broken:
                print_table(broken, _VERIFIED, f"Proofs of {month} that do not hold")
            if broken or not rollups["agree"]:
                say("Nothing was detached.", style="red")
                raise typer.Exit(1)
        with waiting(f"Detaching {month}"):
            answer = gateway.post("ledger", "months", month, "detach", body={}, answer_s=_LONG_S)
        print_one(answer, as_json, f"{month} detached")


@app.command()
def attach(month: OfTheMonth, url: Url = DEFAULT_URL, as_json: AsJson = False) -> None:
    """Put a month's entries back, and append what came for it meanwhile."""
    with operator(url) as gateway:
        with waiting(f"Attaching {month}"):
            answer = gateway.post("ledger", "months", month, "attach", body={}, answer_s=_LONG_S)
        print_one(answer, as_json, f"{month} attached")


@app.command()
def late(limit: RowsMax = _LATE_ROWS, url: Url = DEFAULT_URL, as_json: AsJson = False) -> None:
    """Calls that came for a detached month: in no bill until it is attached again."""
    with operator(url) as gateway:
        answer = gateway.get("ledger", "late", query={"limit": str(limit)})
        if as_json:
            print_json(answer)
        else:
            print_table(answer.value["data"], _LATE, "Refused: their month is detached")


@app.command()
def check(month: OfTheMonth, url: Url = DEFAULT_URL, as_json: AsJson = False) -> None:
    """A month's rollups against the full sum of its entries, line by line."""
    with operator(url) as gateway:
        with waiting(f"Summing up {month}"):
            answer = gateway.get("ledger", "months", month, "rollups", answer_s=_LONG_S)
        if as_json:
            print_json(answer)
        else:
            _print_differences(answer.value)
        if not answer.value["agree"]:
            raise typer.Exit(1)


@app.command()
def verify(month: OfTheMonth, account: OfAccount = None, url: Url = DEFAULT_URL, as_json: AsJson = False) -> None:
    """The proofs of what is booked into a month, worked out again from the entries."""
    with operator(url) as gateway:
        done = _verified(gateway, month, account)
        broken = [each for each in done if not each["holds"]]
        if as_json:
            typer.echo(json.dumps({"month": month, "data": done, "next": None}))
        elif broken:
            print_table(broken, _VERIFIED, f"Proofs of {month} that do not hold")
        else:
            say(
                f"{month}: {len(done):,} accounts, {sum(each['entries'] for each in done):,} entries; every proof holds"
            )
        if broken:
            raise typer.Exit(1)


def _verified(gateway: OperatorClient, month: str, account: str | None) -> list[dict[str, Any]]:
    """Every account's proof of a month, a page at a time, with a bar."""
    done: list[dict[str, Any]] = []
    of = [1]
    with waiting(f"Verifying {month}", lambda: (len(done), of[0])):
        after: str | None = ""
        while after is not None:
            query = {"account": account, "after": after}
            page = gateway.get("ledger", "months", month, "proofs", query=query, answer_s=_LONG_S).value
            of[0] = page["accounts"] if account is None else 1
            done += page["data"]
            after = page["next"]
    return done


def _print_differences(found: dict[str, Any]) -> None:
    if found["agree"]:
        say(f"{found['month']}: the rollups are the sums of the entries")
        return
    rows = [
        {"table": line["table"], "line": " ".join(map(str, line["key"].values())), "measure": name, **sides}
        for line in found["data"]
        for name, sides in line["differ"].items()
    ]
    print_table(
        rows, _DIFFER, f"{found['month']}: {found['days']} days and {found['slots']} quarters of an hour differ"
    )
