"""The README for finance names the columns that the code writes, and its example is what the code makes."""

from __future__ import annotations

import csv
import io
import re
from pathlib import Path

import billing.exports
from billing.exports.accounting import JOURNAL_COLUMNS, Chart, journal, journal_csv
from billing.exports.calls import CALL_COLUMNS
from billing.exports.credits import CREDIT_COLUMNS
from billing.exports.statement import INVOICE_COLUMNS
from tests.billing.exports.test_hometax import issued

README = Path(str(billing.exports.__file__)).with_name("README.md").read_text(encoding="utf-8")


def test_the_documented_columns_are_those_that_are_written() -> None:
    told = [tuple(re.findall(r"`(\w+)`", block)) for block in re.findall(r"^Columns: (.*?)\n\n", README, re.S | re.M)]
    assert told == [INVOICE_COLUMNS, CREDIT_COLUMNS, CALL_COLUMNS, JOURNAL_COLUMNS]


def test_the_example_of_a_journal_is_what_is_written() -> None:
    [example] = re.findall(r"```csv\n(.*?)```", README, re.S)
    made = journal_csv(journal([issued(("solar-pro4", 10_005)).invoice], [], Chart()), Chart())
    assert list(csv.reader(io.StringIO(example))) == list(csv.reader(io.StringIO(made)))[1:]
