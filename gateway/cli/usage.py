"""`solar-gateway usage`: what was used over all accounts, or by one, from the ledger. Exit codes: as in `terminal.py`."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from gateway.cli.operator_client import DEFAULT_URL
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
        }
        rows = [*said["data"], {**said["total"], "group": "total"}] if said["data"] else []
        print_table(rows, columns, f"Usage by {by.value}")
        if not said["complete"]:
            say("Not complete: calls of the last moments are still on their way to the ledger.", style="yellow")
