"""The shorter form of chaos, as a test: each kind of fault on open calls; afterwards nothing lost, nothing doubled, no token differing."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.chaos.faults import FAULTS
from tests.chaos.run import run

SEED, SECONDS, PAUSE_S = "20261124", 10.0, (0.1, 0.4)
"""Each kind of fault is done once, even where that takes longer."""
ANSWERED_MIN = 40
"""On a machine that does nothing else it is ten times as many."""


@pytest.mark.timeout(400)  # 30 s on a machine that does nothing else
async def test_not_one_call_is_lost_none_doubled_and_no_token_differs_whatever_is_killed(tmp_path: Path) -> None:
    report = await run(tmp_path, SEED, SECONDS, pause_s=PAUSE_S)
    print(report.text())
    assert report.is_clean, report.text()
    answered = sum(told.whole for client in report.clients for told in client.calls)
    assert answered >= ANSWERED_MIN, report.text()
    assert {fault.kind for fault in report.struck} == set(FAULTS), report.text()
    assert sum(fault.open_at_clients > 0 for fault in report.struck) >= len(report.struck) - 1, report.text()
