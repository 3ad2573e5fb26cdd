"""The runbook's sizing table says what was last measured, and its arithmetic is right by another way of reckoning."""

from __future__ import annotations

import math
import re
from decimal import ROUND_HALF_UP, Decimal

import pytest

from tests.bench.sizing import RESULTS, RUNBOOK, carried, cores, figures_of, table, written


def test_the_table_of_the_runbook_is_that_of_the_newest_results() -> None:
    now = RUNBOOK.read_text(encoding="utf-8")
    assert written(now, RESULTS.read_text(encoding="utf-8")) == now, "write it again: python -m tests.bench.sizing"


def test_other_results_would_give_another_table() -> None:
    results = RESULTS.read_text(encoding="utf-8")
    slower = re.sub(r"^\| worker \| [\d.]+ \|$", "| worker | 1000.0 |", results, flags=re.M)
    assert figures_of(slower).worker == 1000
    assert "0.6 / 1000 µs = 600 " in table(figures_of(slower))
    with pytest.raises(KeyError):
        figures_of(results.replace("| Valkey |", "| Redis |"))


def test_a_hundred_worker_cores_need_what_the_decimal_arithmetic_says() -> None:
    figures = figures_of(RESULTS.read_text(encoding="utf-8"))
    calls = 100 * min(Decimal(600_000) / _decimal(figures.worker), Decimal(512))
    [row] = [line for line in table(figures).splitlines() if line.startswith("| 100 |")]
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    needed = [math.ceil(calls * _decimal(us) / 600_000) for us in (figures.drain, figures.valkey, figures.postgres)]
    assert [int(cell.split()[0]) for cell in cells[3:6]] == needed
    assert int(cells[1].replace(",", "")) == int(calls.quantize(Decimal("1E+3"), ROUND_HALF_UP))
    assert cores(carried(figures.drain) * 3, figures.drain) == 3


def _decimal(us: object) -> Decimal:
    numerator, _, denominator = str(us).partition("/")
    return Decimal(numerator) / Decimal(denominator or 1)
