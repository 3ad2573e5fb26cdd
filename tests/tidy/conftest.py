"""Planting: a small tree in a temporary folder, for a violation to be found in. Also tells which files outgrow the aim."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.tidy import rules
from tests.tidy.checks import sizes

Plant = Callable[[str, str], Path]


@pytest.fixture
def plant(tmp_path: Path) -> Plant:
    """Writes one file of a planted tree, given its path and text, and returns the root of that tree."""

    def write(name: str, text: str) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return tmp_path

    return write


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for line in sizes.long_files(rules.ROOT, rules.FILE_LINES_AIM):
        terminalreporter.write_line(f"tidy, for your information: {line.replace('allowed', 'the aim')}")
