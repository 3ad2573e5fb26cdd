"""Upstream's usage export: CSV text → rows. Pure. The format, with an example, is in README.md.

Units: counts of a day (input without the cached part), prices USD per million tokens or per page, cost exact USD as upstream states it.
Conventions: a row is known by its day, key, model and part. The same row twice is doubled: it is told, and it is counted once.
Errors: `WrongExport`, which names the line; then nothing of the file is used.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal, InvalidOperation
from typing import Any, NamedTuple, TypeAlias

from billing.periods import Month
from billing.usage import PAGE_KINDS, TOKEN_KINDS

KINDS = (*TOKEN_KINDS, *PAGE_KINDS)
COUNT_COLUMNS = tuple(f"{kind}_{'pages' if kind in PAGE_KINDS else 'tokens'}" for kind in KINDS)
PRICE_COLUMNS = tuple(f"{kind}_price" for kind in KINDS)
COLUMNS = ("date", "upstream_key", "model", "requests", *COUNT_COLUMNS, "cost_usd")
"""What every export has; `PRICE_COLUMNS` and `part` may stand beside them."""
OPTIONAL_COLUMNS = (*PRICE_COLUMNS, "part")

ROWS_MAX = 200_000
_COUNT_DIGITS_MAX = 15
_TEXT_MAX = 200
_USD_MAX = Decimal(1_000_000_000)

Counts: TypeAlias = tuple[int, int, int, int, int]
"""Input, cached input, output; standard and enhanced pages."""
Prices: TypeAlias = tuple[Decimal, Decimal, Decimal, Decimal, Decimal]


class WrongExport(ValueError):
    """A line that cannot be read; nothing was imported."""

    def __init__(self, line: int, why: str) -> None:
        super().__init__(f"line {line}: {why}")
        self.line = line


class UsageRow(NamedTuple):
    """What upstream says of one day, key, model and part."""

    line: int
    day: date
    key: str
    model: str
    part: str
    requests: int
    counts: Counts
    cost: Decimal
    prices: Prices | None

    @property
    def unit_usd(self) -> Decimal:
        """The last place to which the cost is written: it may be off by less than that."""
        return Decimal(1).scaleb(int(self.cost.as_tuple().exponent))


@dataclass(frozen=True, slots=True)
class UsageExport:
    """A month of upstream's account."""

    rows: tuple[UsageRow, ...]
    doubled: tuple[tuple[UsageRow, int], ...] = ()
    """Rows that stood there before, with the line at which they did."""


def from_wire_export(text: str, month: Month) -> UsageExport:
    """A CSV with `COLUMNS` (in any order) → its rows, all of one month. Raises `WrongExport`."""
    reader = csv.DictReader(io.StringIO(text.removeprefix("\ufeff"), newline=""), restkey="more", strict=True)
    known: dict[tuple[date, str, str, str], UsageRow] = {}
    doubled: list[tuple[UsageRow, int]] = []
    try:
        names = _checked_names(list(reader.fieldnames or ()))
        for cells in reader:
            row = _from_wire_row(cells, names, reader.line_num)
            if (row.day.year, row.day.month) != (month.year, month.number):
                raise WrongExport(row.line, f"date: {row.day} is not in {month}")
            identity = (row.day, row.key, row.model, row.part)
            first = known.setdefault(identity, row)
            if first is not row:
                if first[5:] != row[5:]:
                    raise WrongExport(row.line, f"says something else of what line {first.line} is about; give a part")
                doubled.append((row, first.line))
            if len(known) + len(doubled) > ROWS_MAX:
                raise WrongExport(row.line, f"more than {ROWS_MAX} rows")
    except csv.Error as error:
        raise WrongExport(reader.line_num, f"no CSV ({error})") from None
    return UsageExport(tuple(known.values()), tuple(doubled))


def _checked_names(names: list[str]) -> list[str]:
    for wanted in COLUMNS:
        if names.count(wanted) != 1:
            raise WrongExport(1, f"needs the column {wanted} once; columns are {','.join(COLUMNS)}")
    for name in names:
        if name not in COLUMNS + OPTIONAL_COLUMNS or names.count(name) > 1:
            raise WrongExport(1, f"{name!r} is no column, or there twice")
    priced = [name for name in PRICE_COLUMNS if name in names]
    if priced and len(priced) < len(PRICE_COLUMNS):
        raise WrongExport(1, f"has prices, so it needs all of {','.join(PRICE_COLUMNS)}")
    return names


def _from_wire_row(cells: Mapping[str, Any], names: list[str], line: int) -> UsageRow:
    if "more" in cells or any(cells[name] is None for name in names):
        raise WrongExport(line, f"needs {len(names)} cells")
    try:
        day = date.fromisoformat(cells["date"].strip())
    except ValueError:
        raise WrongExport(line, f"date: {cells['date']!r} is no day such as 2026-10-31") from None
    counts = [_count(cells, name, line) for name in COUNT_COLUMNS]
    prices = None
    if PRICE_COLUMNS[0] in names:
        given = [_decimal(cells, name, line) for name in PRICE_COLUMNS]
        prices = (given[0], given[1], given[2], given[3], given[4])
    return UsageRow(
        line=line,
        day=day,
        key=_text(cells, "upstream_key", line),
        model=_text(cells, "model", line),
        part=_text(cells, "part", line) if "part" in names else "",
        requests=_count(cells, "requests", line),
        counts=(counts[0], counts[1], counts[2], counts[3], counts[4]),
        cost=_decimal(cells, "cost_usd", line),
        prices=prices,
    )


def _text(cells: Mapping[str, Any], name: str, line: int) -> str:
    text = str(cells[name]).strip()
    if len(text) > _TEXT_MAX or not text.isprintable() or (name == "model" and not text):
        raise WrongExport(line, f"{name}: must be printable text of at most {_TEXT_MAX} characters")
    return text


def _count(cells: Mapping[str, Any], name: str, line: int) -> int:
    text = cells[name].strip()
    if not (text.isascii() and text.isdigit() and len(text) <= _COUNT_DIGITS_MAX):
        raise WrongExport(line, f"{name}: {text!r} is no whole number from 0 on")
    return int(text)


def _decimal(cells: Mapping[str, Any], name: str, line: int) -> Decimal:
    try:
        number = Decimal(cells[name].strip())
    except InvalidOperation:
        number = Decimal("NaN")
    if not number.is_finite() or not 0 <= number <= _USD_MAX or int(number.as_tuple().exponent) < -18:
        raise WrongExport(line, f"{name}: {cells[name]!r} is no decimal from 0 to {_USD_MAX} with at most 18 places")
    return number if int(number.as_tuple().exponent) <= 0 else number.quantize(Decimal(1))
