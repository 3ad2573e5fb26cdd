"""What all commands share at the terminal: options, errors with their exit codes, tables.

Answers go to stdout, everything said about them to stderr. Amounts are printed as the gateway gave them, never reckoned with.
Exit codes: 1 the gateway refused, or is not there; 2 a setting or an argument is wrong. Each with one line.
"""

from __future__ import annotations

import json
import os
import re
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Annotated, Any, NoReturn, TypeAlias

import typer
from rich.cells import cell_len
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from gateway.cli.operator_client import Answer, OperatorClient, OperatorError, WrongArgument, token_of
from gateway.settings import SettingsError, read_settings

ROWS_MAX = 1000
Url: TypeAlias = Annotated[str, typer.Option("--url", envvar="GATEWAY_URL", help="Where the gateway is.")]
AsJson: TypeAlias = Annotated[bool, typer.Option("--json", help="Print the gateway's own JSON and nothing else.")]
RowsMax: TypeAlias = Annotated[int, typer.Option("--limit", min=1, max=1_000_000, help="The most rows to fetch.")]
AccountId: TypeAlias = Annotated[str, typer.Argument(metavar="ACCOUNT", help="The account's id.")]
OfMonth: TypeAlias = Annotated[str | None, typer.Option("--month", metavar="YYYY-MM", help="Of this month only.")]
OfAccount: TypeAlias = Annotated[str | None, typer.Option("--account", metavar="ID", help="Of this account only.")]

Columns: TypeAlias = Mapping[str, str]
"""Heading → field of a row; a dot leads into an object."""
_NUMBER = re.compile(r"-?[\d,]+(\.\d+)?")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]+")
_PIPED_WIDTH = 1000
_WORD_WIDTH = 12
_ASK_EVERY_S = 0.5
_IDS = ("id", "account", "card", "key")
_NOTHING = "–"
_log = Console(stderr=True, highlight=False)


def say(text: str, *, style: str = "") -> None:
    """One line beside the answer. No markup is read in it: much of it came from others."""
    _log.print(Text(text, style=style), soft_wrap=True)


def fail(error: Exception, code: int) -> NoReturn:
    _log.print(Text.assemble(("error:", "red"), " ", _CONTROL.sub(" ", str(error))), soft_wrap=True)
    raise typer.Exit(code)


@contextmanager
def operator(url: str) -> Iterator[OperatorClient]:
    """The operator API at an address; what goes wrong inside ends the command with one line and its exit code."""
    try:
        with OperatorClient(url, token_of(read_settings())) as client:
            yield client
    except (SettingsError, WrongArgument) as error:
        fail(error, 2)
    except OperatorError as error:
        fail(error, 1)


@contextmanager
def waiting(what: str, so_far: Callable[[], tuple[int, int]] | None = None) -> Iterator[None]:
    """A spinner while the gateway works, or a bar where it can be asked how far it is (done, of how many).

    It leaves nothing behind, and shows nothing at all where nobody looks.
    """
    spinner = (SpinnerColumn(), TextColumn("{task.description}"))
    bar = () if so_far is None else (BarColumn(), MofNCompleteColumn())
    ended = threading.Event()
    with Progress(
        *spinner, *bar, TimeElapsedColumn(), console=_log, transient=True, disable=not _log.is_terminal
    ) as shown:
        task = shown.add_task(what, total=None)
        if so_far is None or not _log.is_terminal:
            yield
            return

        def ask() -> None:
            while not ended.wait(_ASK_EVERY_S):
                with suppress(OperatorError):  # the work itself will say what is wrong
                    done, of = so_far()
                    shown.update(task, completed=done, total=of)

        asking = threading.Thread(target=ask, daemon=True)
        asking.start()
        try:
            yield
        finally:
            ended.set()
            asking.join()


def print_json(answer: Answer) -> None:
    typer.echo(answer.raw)


def print_list(answer: Answer, columns: Columns, as_json: bool, title: str) -> None:
    """A list as JSON or as a table; says so where more rows exist."""
    if as_json:
        print_json(answer)
        return
    page = answer.value
    print_table(page["data"], columns, title)
    if page["next"] is not None:
        say(f"There are more than these {len(page['data'])}: raise --limit.", style="yellow")


def print_one(answer: Answer, as_json: bool, title: str) -> None:
    """A thing as JSON or as its fields."""
    if as_json:
        print_json(answer)
    else:
        print_fields(answer.value, title)


def print_table(rows: Sequence[Mapping[str, Any]], columns: Columns, title: str) -> None:
    if not rows:
        say(f"{title}: none.")
        return
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    cells = [[shown(field_of(row, path)) for path in columns.values()] for row in rows]
    for number, heading in enumerate(columns):
        texts = [row[number] for row in cells]
        amounts = all(text == _NOTHING or _NUMBER.fullmatch(text) for text in texts)
        longest = max(cell_len(text) for text in [heading, *texts])
        # An id that is cut in two cannot be copied, and an amount must not be: long texts give way.
        whole = longest if heading in _IDS or amounts or longest <= _WORD_WIDTH else None
        table.add_column(heading, justify="right" if amounts else "left", overflow="fold", width=whole)
    for row in cells:
        table.add_row(*(Text(text) for text in row))
    _print_titled(title, table)


def print_fields(thing: Mapping[str, Any], title: str) -> None:
    """Every field of a thing, as the gateway names it."""
    table = Table(box=None, pad_edge=False, show_header=False, padding=(0, 2, 0, 0))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in _flat(thing):
        table.add_row(Text(name), Text(shown(value)))
    _print_titled(title, table)


def print_line(text: str) -> None:
    """A line that is to be copied: never broken."""
    _out().print(Text(text), soft_wrap=True)


def shown(value: Any) -> str:
    """A value for people; text keeps its letters, and loses what would steer the terminal."""
    if value is None or value == "":
        return _NOTHING
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        value = ", ".join(value)
    return _CONTROL.sub("\ufffd", value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))


def field_of(row: Mapping[str, Any], path: str) -> Any:
    value: Any = row
    for name in path.split("."):
        value = value.get(name) if isinstance(value, Mapping) else None
    return value


def _flat(thing: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in thing.items():
        if isinstance(value, Mapping) and value:
            yield from _flat(value, f"{above}{name}.")
        else:
            yield above + name, value


def _print_titled(title: str, table: Table) -> None:
    _out().print(Text(title, style="italic"), table, sep="\n")


def _out() -> Console:
    """Stdout as it is now; where it is no terminal, wide enough for every table."""
    width = None if sys.stdout.isatty() or "COLUMNS" in os.environ else _PIPED_WIDTH
    return Console(highlight=False, width=width)
