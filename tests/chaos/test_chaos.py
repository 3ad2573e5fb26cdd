"""The shorter form of chaos, as a test: each kind of fault on open calls; afterwards nothing lost, nothing doubled, no token differing."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.chaos.run import run

SEED, SECONDS = "20261124", 16.0
ANSWERED_MIN = 40
"""On a machine that does nothing else it is ten times as many."""
KINDS_MIN = 2
"""And there it is all of them."""


@pytest.mark.timeout(400)  # 30 s on a machine that does nothing else
async def test_not_one_call_is_lost_none_doubled_and_no_token_differs_whatever_is_killed(tmp_path: Path) -> None:
    report = await run(tmp_path, SEED, SECONDS)
    print(report.text())
    assert report.is_clean, report.text()
    answered = sum(told.whole for client in report.clients for told in client.calls)
    assert answered >= ANSWERED_MIN, report.text()
    struck = {fault.kind for fault in report.struck}
    assert len(struck) >= KINDS_MIN, report.text()
    assert sum(fault.open_at_clients > 0 for fault in report.struck) >= len(report.struck) - 1, report.text()
