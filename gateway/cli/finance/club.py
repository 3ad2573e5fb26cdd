"""`solar-gateway club`: what partners gave, and which of it trained which model. Exit codes: as in `terminal.py`."""

from __future__ import annotations

from typing import Annotated, Any, TypeAlias

import typer

from gateway.cli.accounts import given
from gateway.cli.operator_client import DEFAULT_URL, WrongArgument
from gateway.cli.terminal import ROWS_MAX, AccountId, AsJson, Url, operator, print_list, print_one

app = typer.Typer(no_args_is_help=True, help="What partners gave, and which of it trained which model.")

Contribution: TypeAlias = Annotated[str, typer.Argument(metavar="CONTRIBUTION", help="The id of what was booked.")]
_CONTRIBUTIONS = {
    "id": "id",
    "dataset": "dataset",
    "words": "words",
    "tokens": "tokens",
    "quality": "quality",
    "accepted": "accepted_at",
    "corrects": "corrects",
    "withdraws": "withdraws",
    "note": "note",
}
_GRANTS = {
    "id": "id",
    "contribution": "contribution_id",
    "granted": "granted",
    "used": "used",
    "expired": "expired",
    "ended": "ended",
    "left": "left",
    "from": "from",
    "until": "until",
    "ended at": "ended_at",
}
_TIERS = {"id": "id", "effective": "effective_at", "tiers": "tiers"}
_MANIFESTS = {"model": "model", "datasets": "datasets"}


@app.command()
def contribute(
    account: AccountId,
    dataset: Annotated[str, typer.Option(help="The name that training manifests use.")],
    words: Annotated[int, typer.Option(min=0)],
    tokens: Annotated[int, typer.Option(min=0, help="Accepted tokens: they set the tier and are granted free.")],
    quality: Annotated[
        str | None, typer.Option(metavar="FACTOR", help="Weight in the revenue share; default 1.0.")
    ] = None,
    accepted_at: Annotated[str | None, typer.Option(metavar="INSTANT", help="Default now.")] = None,
    note: Annotated[str | None, typer.Option()] = None,
    url: Url = DEFAULT_URL,
    as_json: AsJson = False,
) -> None:
    """Book accepted text of a partner."""
    with operator(url) as gateway:
        fields = {
            "dataset": dataset,
            "words": words,
            "tokens": tokens,
            "quality": quality,
            "accepted_at": accepted_at,
            "note": note,
        }
        answer = gateway.post("accounts", account, "contributions", body=given(fields))
        print_one(answer, as_json, "Contribution booked")


@app.command()
def correct(
    account: AccountId,
    contribution: Contribution,
    dataset: Annotated[str | None, typer.Option(help="What is left out stays as it is.")] = None,
    words: Annotated[int | None, typer.Option(min=0)] = None,
    tokens: Annotated[int | None, typer.Option(min=0, help="Accepted tokens, as they should have been.")] = None,
    quality: Annotated[str | None, typer.Option(metavar="FACTOR")] = None,
    at: Annotated[
        str | None, typer.Option("--at", metavar="INSTANT", help="From when on it counts; default now.")
    ] = None,
    note: Annotated[str | None, typer.Option()] = None,
    url: Url = DEFAULT_URL,
    as_json: AsJson = False,
) -> None:
    """Correct a contribution by a linked entry; the grant becomes what the corrected tokens exceed those spent."""
    with operator(url) as gateway:
        fields = {
            "corrects": contribution,
            "dataset": dataset,
            "words": words,
            "tokens": tokens,
            "quality": quality,
            "accepted_at": at,
            "note": note,
        }
        answer = gateway.post("accounts", account, "contributions", body=given(fields))
        print_one(answer, as_json, "Contribution corrected")


@app.command()
def withdraw(
    account: AccountId,
    contribution: Contribution,
    at: Annotated[str | None, typer.Option("--at", metavar="INSTANT", help="From when on; default now.")] = None,
    note: Annotated[str | None, typer.Option()] = None,
    url: Url = DEFAULT_URL,
    as_json: AsJson = False,
) -> None:
    """Withdraw a contribution by a linked entry; what is left of its grant ends."""
    with operator(url) as gateway:
        fields = {"withdraws": contribution, "accepted_at": at, "note": note}
        answer = gateway.post("accounts", account, "contributions", body=given(fields))
        print_one(answer, as_json, "Contribution withdrawn")


@app.command()
def grants(account: AccountId, url: Url = DEFAULT_URL, as_json: AsJson = False) -> None:
    """What became of a partner's free tokens."""
    with operator(url) as gateway:
        answer = gateway.listed("accounts", account, "grants", rows_max=ROWS_MAX)
        print_list(answer, _GRANTS, as_json, "Grants")


@app.command()
def contributions(account: AccountId, url: Url = DEFAULT_URL, as_json: AsJson = False) -> None:
    """What a partner gave."""
    with operator(url) as gateway:
        answer = gateway.listed("accounts", account, "contributions", rows_max=ROWS_MAX)
        print_list(answer, _CONTRIBUTIONS, as_json, "Contributions")


@app.command()
def manifest(
    model: Annotated[str, typer.Argument(help="The model's snapshot, such as solar-pro4-260806.")],
    datasets: Annotated[list[str], typer.Argument(help="The datasets that trained it: all of them.")],
    url: Url = DEFAULT_URL,
    as_json: AsJson = False,
) -> None:
    """State which datasets trained a model; the newest statement counts."""
    with operator(url) as gateway:
        answer = gateway.post("training-manifests", body={"model": model, "datasets": datasets})
        print_one(answer, as_json, "Training manifest")


@app.command("set-tiers")
def set_tiers(
    effective_at: Annotated[str, typer.Argument(metavar="INSTANT", help="From when on; it must be to come.")],
    tiers: Annotated[
        list[str], typer.Argument(metavar="NAME=TOKENS:DISCOUNT", help="All steps, lowest first: 100M=100000000:0.10")
    ],
    url: Url = DEFAULT_URL,
    as_json: AsJson = False,
) -> None:
    """State the club's tiers from an instant on; calls before it keep their discount."""
    with operator(url) as gateway:
        body = {"effective_at": effective_at, "tiers": [_tier(text) for text in tiers]}
        print_one(gateway.post("tier-tables", body=body), as_json, "Tiers")


@app.command()
def tiers(url: Url = DEFAULT_URL, as_json: AsJson = False) -> None:
    """The tables of tiers, and since when each holds."""
    with operator(url) as gateway:
        print_list(gateway.listed("tier-tables", rows_max=ROWS_MAX), _TIERS, as_json, "Tiers")


def _tier(text: str) -> dict[str, Any]:
    name, _, step = text.partition("=")
    tokens, _, discount = step.partition(":")
    if not name or not tokens.isdecimal() or not discount:
        raise WrongArgument(f"{text!r} is no NAME=TOKENS:DISCOUNT, such as 100M=100000000:0.10")
    return {"name": name, "tokens_min": int(tokens), "discount": discount}


@app.command()
def manifests(url: Url = DEFAULT_URL, as_json: AsJson = False) -> None:
    """The statement that counts, for each model."""
    with operator(url) as gateway:
        print_list(gateway.listed("training-manifests", rows_max=ROWS_MAX), _MANIFESTS, as_json, "Training manifests")
