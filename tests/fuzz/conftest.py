"""A gateway of its own: what is written here (rate cards, plans, closed months) shall not meet any other test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.running import Gateway


@pytest.fixture(scope="session")
def fuzzed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with Gateway.started(tmp_path_factory.mktemp("fuzzed"), workers=2) as running:
        yield running
