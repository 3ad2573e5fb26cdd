"""Upstream's usage export: the documented example is read, and what is wrong is refused with its line."""

from __future__ import annotations

import re
from decimal import Decimal
from pathlib import Path

import pytest

import billing.reconcile
from billing.periods import Month
from billing.reconcile.report import WHAT_TO_DO
from billing.reconcile.usage_export import COLUMNS, OPTIONAL_COLUMNS, WrongExport, from_wire_export

README = Path(str(billing.reconcile.__file__)).with_name("README.md").read_text(encoding="utf-8")
[EXAMPLE] = re.findall(r"```csv\n(.*?)```", README, re.S)
OCTOBER = Month(2026, 10)
HEAD = EXAMPLE.splitlines()[0]
ROW = EXAMPLE.splitlines()[1]


def test_the_example_of_the_readme_is_read() -> None:
    export = from_wire_export(EXAMPLE, OCTOBER)
    assert [(row.line, row.model, row.requests) for row in export.rows] == [
        (2, "solar-pro4", 1200),
        (3, "document-parse", 3),
        (4, "solar-pro4-260806", 1000),
    ]
    assert export.rows[0].counts == (1_800_000, 200_000, 240_000, 0, 0)
    assert (export.rows[1].cost, export.doubled) == (Decimal("0.46"), ())


def test_the_readme_names_every_column_and_every_difference() -> None:
    first_cells = " ".join(re.findall(r"^\| (`.*?`) \|", README, re.M))
    told = re.findall(r"`(\w+)`", first_cells)
    assert told == [
        "date",
        "upstream_key",
        "model",
        "requests",
        *COLUMNS[4:9],
        "cost_usd",
        *OPTIONAL_COLUMNS,
        *WHAT_TO_DO,
    ]


def test_a_row_that_stands_there_twice_is_kept_once_and_told() -> None:
    export = from_wire_export(f"{EXAMPLE}{ROW}\n", OCTOBER)
    assert len(export.rows) == 3
    assert [(row.line, first) for row, first in export.doubled] == [(5, 2)]


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        ("", 1, "needs the column date"),
        (HEAD.replace("requests,", ""), 1, "needs the column requests"),
        (f"{HEAD},colour\n", 1, "'colour' is no column"),
        (f"{HEAD},input_price\n", 1, "has prices, so it needs all of"),
        (f"{HEAD}\n{ROW},1\n", 2, "needs 10 cells"),
        (f"{HEAD}\n{ROW.replace('2026-10-01', '2026-10-32')}\n", 2, "is no day"),
        (f"{HEAD}\n{ROW.replace('2026-10-01', '2026-11-01')}\n", 2, "is not in 2026-10"),
        (f"{HEAD}\n{ROW.replace('1200', '-1200')}\n", 2, "is no whole number"),
        (f"{HEAD}\n{ROW.replace('1200', '1.5')}\n", 2, "is no whole number"),
        (f"{HEAD}\n{ROW.replace('0.84', 'NaN')}\n", 2, "is no decimal"),
        (f"{HEAD}\n{ROW.replace('0.84', '-1')}\n", 2, "is no decimal"),
        (f"{HEAD}\n{ROW.replace('solar-pro4', '')}\n", 2, "model: must be printable"),
        (f"{HEAD}\n{ROW}\n{ROW.replace('1200', '1201')}\n", 3, "something else of what line 2 is about"),
        (f'{HEAD}\n"2026-10-01\n', 1, "no CSV"),
    ],
)
def test_a_file_that_is_wrong_is_refused_with_its_line(text: str, line: int, says: str) -> None:
    with pytest.raises(WrongExport, match=says) as refused:
        from_wire_export(text, OCTOBER)
    assert refused.value.line == line
