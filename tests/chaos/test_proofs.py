"""The audit of proofs finds what is wrong with them, and nothing else."""

from __future__ import annotations

import msgspec
from sqlalchemy import text

from billing.database import Sessions
from billing.ledger.entry import Settled
from tests.billing.months import book, call
from tests.chaos.proofs import unproved


async def test_a_ledger_as_it_was_written_is_proved_and_one_that_was_touched_is_not(
    sessions: Sessions, database_url: str
) -> None:
    exact = call("acc_1", (100, 0, 50, 0, 0))
    await book(sessions, Settled(msgspec.structs.replace(exact.record, estimated_reason="worker lost")))
    await book(sessions, exact, *(call(f"acc_{n % 3}") for n in range(12)))
    assert await unproved(database_url) == []
    for spoil, says in {
        "UPDATE ledger_entry SET place = 9 WHERE account_id = 'acc_2' AND place = 2": "4 entries, 4 in the proof",
        "UPDATE ledger_entry SET place = 2, cost = 1 WHERE account_id = 'acc_2' AND place = 9": "another root",
        "DELETE FROM ledger_entry WHERE kind = 'reversal'": "['call', 'call']",
        "DELETE FROM ledger_proof WHERE account_id = 'acc_0'": "0 in the proof",
    }.items():
        async with sessions.begin() as session:
            await session.execute(text(spoil))
        assert says in " ".join(await unproved(database_url)), spoil
