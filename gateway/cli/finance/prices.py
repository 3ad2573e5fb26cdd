"""`solar-gateway prices`: rate cards and exchange rates. USD per million tokens, or per page; rates as decimal text.

A card is a JSON file in the contract's shape (design.md section 3), sent byte for byte. Exit codes: as in `terminal.py`; a file
that is none is a wrong argument.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from gateway.cli.operator_client import DEFAULT_URL, WrongArgument
from gateway.cli.terminal import (
    ROWS_MAX,
    AsJson,
    RowsMax,
    Url,
    operator,
    print_json,
    print_list,
    print_one,
    print_table,
    say,
)
from gateway.settings import MIB

app = typer.Typer(no_args_is_help=True, help="Rate cards and exchange rates.")

_STDIN = "-"
_CARD_MAX_BYTES = MIB
_PRICES = {
    "effective": "effective_at",
    "account": "account_id",
    "club discount": "club_discount",
    "model": "model",
    "input": "input",
    "cached": "cached_input",
    "output": "output",
    "page": "page.standard",
    "enhanced page": "page.enhanced",
    "aliases": "aliases",
    "buys input": "buy.input",
    "buys output": "buy.output",
    "card": "card",
}
_FX = {"day": "date", "pair": "pair", "rate": "rate"}


@app.command("list")
def listed(limit: RowsMax = ROWS_MAX, url: Url = DEFAULT_URL, as_json: AsJson = False) -> None:
    """All rate cards (`--limit` counts cards), a line for each model."""
    with operator(url) as gateway:
        answer = gateway.listed("rate-cards", rows_max=limit)
        if as_json:
            print_json(answer)
            return
        page = answer.value
        print_table(list(_models(page["data"])), _PRICES, "Prices in USD per million tokens, or per page")
        if page["next"] is not None:
            say(f"There are more than these {len(page['data'])} cards: raise --limit.", style="yellow")


@app.command()
def add(
    file: Annotated[str, typer.Argument(metavar="FILE", help="The card as a JSON file; `-` reads it from stdin.")],
    url: Url = DEFAULT_URL,
    as_json: AsJson = False,
) -> None:
    """Post a rate card: `{"effective_at": …, "account_id"?: …, "models": {…}}`."""
    with operator(url) as gateway:
        answer = gateway.post("rate-cards", body=read_card(file))
        if as_json:
            print_json(answer)
        else:
            print_table(list(_models([answer.value])), _PRICES, "Rate card added")


@app.command("fx-add")
def fx_add(
    date: Annotated[str, typer.Argument(metavar="DAY", help="Such as 2026-10-31.")],
    rate: Annotated[str, typer.Argument(help="How much of the second currency one of the first is, such as 1386.50.")],
    pair: Annotated[str, typer.Option(help="What against what.")] = "USD/KRW",
    url: Url = DEFAULT_URL,
    as_json: AsJson = False,
) -> None:
    """State a day's exchange rate, once."""
    with operator(url) as gateway:
        body = {"date": date, "pair": pair, "rate": rate}
        print_one(gateway.post("fx-rates", body=body), as_json, "Exchange rate stated")


@app.command("fx-import")
def fx_import(
    file: Annotated[
        str, typer.Argument(metavar="FILE", help="A CSV with the columns date,pair,rate; `-` reads stdin.")
    ],
    url: Url = DEFAULT_URL,
    as_json: AsJson = False,
) -> None:
    """State many exchange rates, all or none. Repeating it changes nothing."""
    with operator(url) as gateway:
        raw = _read(file, "file of rates")
        answer = gateway.post("fx-rates", "import", body=raw, content_type="text/csv")
        print_one(answer, as_json, "Exchange rates imported")


@app.command("fx-list")
def fx_list(url: Url = DEFAULT_URL, as_json: AsJson = False) -> None:
    """The exchange rates that were stated."""
    with operator(url) as gateway:
        print_list(gateway.listed("fx-rates", rows_max=ROWS_MAX), _FX, as_json, "Exchange rates")


def _models(cards: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for card in cards:
        for model, entry in card["models"].items():
            yield {**entry, **card, "model": model, "card": card["id"]}


def read_card(name: str) -> bytes:
    """The bytes of a JSON object; raises `WrongArgument` where the file holds none."""
    raw = _read(name, "rate card")
    try:
        card = json.loads(raw)
    except json.JSONDecodeError as error:
        raise WrongArgument(f"{name}: no JSON, line {error.lineno} column {error.colno}: {error.msg}") from None
    except (UnicodeDecodeError, RecursionError) as error:
        raise WrongArgument(f"{name}: no JSON ({error})") from None
    if not isinstance(card, dict):
        raise WrongArgument(f"{name}: a rate card is a JSON object")
    return raw


def _read(name: str, what: str) -> bytes:
    try:
        with sys.stdin.buffer if name == _STDIN else Path(name).open("rb") as file:
            raw = file.read(_CARD_MAX_BYTES + 1)
    except OSError as error:
        raise WrongArgument(f"{name}: {error.strerror or error}") from None
    if len(raw) > _CARD_MAX_BYTES:
        raise WrongArgument(f"{name}: larger than {_CARD_MAX_BYTES // MIB} MiB, which no {what} is")
    return raw
