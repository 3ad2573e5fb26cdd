"""`solar-gateway operators`: who may use the operator API, in which role; and the audit log of what they changed.

Exit codes: as in `terminal.py`.
"""

from __future__ import annotations

from typing import Annotated

import typer

from gateway.cli.operator_client import DEFAULT_URL
from gateway.cli.terminal import (
    AsJson,
    RowsMax,
    Url,
    operator,
    print_fields,
    print_json,
    print_line,
    print_list,
    print_one,
    say,
)

app = typer.Typer(no_args_is_help=True, help="Who may use the operator API, and what they changed.")

_COLUMNS = {
    "id": "id",
    "name": "name",
    "role": "role",
    "prefix": "prefix",
    "created": "created_at",
    "expires": "expires_at",
    "revoked": "revoked_at",
}
_CHANGES = {"at": "at", "operator": "actor", "action": "action", "subject": "subject", "change": "change"}


@app.command()
def create(
    name: Annotated[str, typer.Argument(help="Who it is for; the audit log says this name.")],
    role: Annotated[str, typer.Option(help="admin, finance or support (which only looks).")],
    expires_at: Annotated[str | None, typer.Option(metavar="INSTANT", help="Such as 2026-12-31T00:00:00Z.")] = None,
    url: Url = DEFAULT_URL,
    as_json: AsJson = False,
) -> None:
    """Make a named operator's token. It is printed this once."""
    with operator(url) as gateway:
        body = {"name": name, "role": role} | ({} if expires_at is None else {"expires_at": expires_at})
        answer = gateway.post("operators", body=body)
    if as_json:
        print_json(answer)
        return
    made = answer.value
    token = made.pop("secret")
    print_fields(made, "Operator created")
    print_line(f"\nGATEWAY_OPERATOR_TOKEN={token}")
    say(
        "This is the only time that the token is shown: the gateway keeps a hash of it. Hand it on now.", style="yellow"
    )


@app.command("list")
def listed(url: Url = DEFAULT_URL, as_json: AsJson = False) -> None:
    """All operators, without their tokens."""
    with operator(url) as gateway:
        print_list(gateway.get("operators"), _COLUMNS, as_json, "Operators")


@app.command()
def revoke(
    operator_id: Annotated[str, typer.Argument(metavar="OPERATOR", help="The operator's id.")],
    url: Url = DEFAULT_URL,
    as_json: AsJson = False,
) -> None:
    """End a token: it opens nothing from the next request on."""
    with operator(url) as gateway:
        print_one(gateway.delete("operators", operator_id), as_json, "Operator revoked")


@app.command()
def audit(
    subject: Annotated[str | None, typer.Option(metavar="ID", help="Of this account, key, … only.")] = None,
    actor: Annotated[str | None, typer.Option(metavar="NAME", help="By this operator only.")] = None,
    rows_max: RowsMax = 100,
    url: Url = DEFAULT_URL,
    as_json: AsJson = False,
) -> None:
    """Who changed what, newest first."""
    with operator(url) as gateway:
        query = {"subject": subject, "actor": actor}
        print_list(gateway.listed("audit", rows_max=rows_max, query=query), _CHANGES, as_json, "Changes")
