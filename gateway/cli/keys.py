"""`solar-gateway keys`: what callers call with. A secret is printed by `create` and `rotate`, once, and nowhere else.

Exit codes: as in `terminal.py`.
"""

from __future__ import annotations

from typing import Annotated, TypeAlias

import typer

from gateway.cli.accounts import (
    NONE,
    Cap,
    Concurrency,
    ModelLimit,
    Requests,
    Tokens,
    cap_of,
    changed_limits,
    given,
    limits_of,
)
from gateway.cli.operator_client import DEFAULT_URL, Answer, WrongArgument
from gateway.cli.terminal import (
    ROWS_MAX,
    AccountId,
    AsJson,
    Url,
    operator,
    print_fields,
    print_json,
    print_line,
    print_list,
    print_one,
    say,
)

app = typer.Typer(no_args_is_help=True, help="What callers call with.")

KeyId: TypeAlias = Annotated[str, typer.Argument(metavar="KEY", help="The key's id (not its secret).")]
_COLUMNS = {
    "id": "id",
    "name": "name",
    "prefix": "prefix",
    "cap": "monthly_cap",
    "requests/min": "limits.requests_per_minute",
    "tokens/min": "limits.tokens_per_minute",
    "concurrency": "limits.concurrency",
    "created": "created_at",
    "expires": "expires_at",
    "revoked": "revoked_at",
}


@app.command()
def create(
    account: AccountId,
    name: Annotated[str, typer.Argument(help="What people call it.")],
    monthly_cap: Cap = None,
    requests_per_minute: Requests = None,
    tokens_per_minute: Tokens = None,
    concurrency: Concurrency = None,
    model_limit: ModelLimit = None,
    expires_at: Annotated[str | None, typer.Option(metavar="INSTANT", help="Such as 2026-12-31T00:00:00Z.")] = None,
    model: Annotated[list[str] | None, typer.Option(help="Only this model; may be repeated.")] = None,
    endpoint: Annotated[list[str] | None, typer.Option(help="Only this endpoint; may be repeated.")] = None,
    ip_range: Annotated[list[str] | None, typer.Option(help="Only from this range (CIDR); may be repeated.")] = None,
    url: Url = DEFAULT_URL,
    as_json: AsJson = False,
) -> None:
    """Make a key for an account. Its secret is printed this once."""
    with operator(url) as gateway:
        scopes = given({"models": model or None, "endpoints": endpoint or None, "ip_ranges": ip_range or None})
        body = {
            **given({"name": name, "expires_at": expires_at, "scopes": scopes or None}),
            **cap_of(monthly_cap),
            **limits_of(requests_per_minute, tokens_per_minute, concurrency, model_limit),
        }
        _print_secret(gateway.post("accounts", account, "keys", body=body), as_json, "Key created")


@app.command("list")
def listed(account: AccountId, url: Url = DEFAULT_URL, as_json: AsJson = False) -> None:
    """An account's keys, without their secrets."""
    with operator(url) as gateway:
        print_list(gateway.listed("accounts", account, "keys", rows_max=ROWS_MAX), _COLUMNS, as_json, "Keys")


@app.command()
def change(
    key: KeyId,
    name: Annotated[str | None, typer.Option(help="What people call it.")] = None,
    monthly_cap: Cap = None,
    requests_per_minute: Requests = None,
    tokens_per_minute: Tokens = None,
    concurrency: Concurrency = None,
    model_limit: ModelLimit = None,
    expires_at: Annotated[
        str | None, typer.Option(metavar="INSTANT", help="Such as 2026-12-31T00:00:00Z, or `none`.")
    ] = None,
    url: Url = DEFAULT_URL,
    as_json: AsJson = False,
) -> None:
    """Change what is given, from the next call on. The three limits of all calls are set together; a model's limits each for itself."""
    with operator(url) as gateway:
        limits = (requests_per_minute, tokens_per_minute, concurrency)
        expiry = {} if expires_at is None else {"expires_at": None if expires_at == NONE else expires_at}
        body = {**given({"name": name}), **cap_of(monthly_cap), **expiry}
        body |= changed_limits(lambda: gateway.get("keys", key), limits, model_limit)
        if not body:
            raise WrongArgument("nothing to change is named; see `solar-gateway keys change --help`")
        print_one(gateway.patch("keys", key, body=body), as_json, "Key changed")


@app.command()
def rotate(
    key: KeyId,
    overlap_s: Annotated[int, typer.Option(min=0, help="Seconds for which the old secret still works.")] = 0,
    url: Url = DEFAULT_URL,
    as_json: AsJson = False,
) -> None:
    """Make a successor with the same terms. Its secret is printed this once."""
    with operator(url) as gateway:
        answer = gateway.post("keys", key, "rotate", body={"overlap_s": overlap_s})
        _print_secret(answer, as_json, "Key rotated: its successor")


@app.command()
def revoke(key: KeyId, url: Url = DEFAULT_URL, as_json: AsJson = False) -> None:
    """End a key at once."""
    with operator(url) as gateway:
        print_one(gateway.delete("keys", key), as_json, "Key revoked")


def _print_secret(answer: Answer, as_json: bool, title: str) -> None:
    if as_json:
        print_json(answer)
        return
    key = answer.value
    secret = key.pop("secret")
    print_fields(key, title)
    print_line(f"\nSOLAR_API_KEY={secret}")
    say(
        "This is the only time that the secret is shown: the gateway keeps a hash of it. Hand it on now.",
        style="yellow",
    )
