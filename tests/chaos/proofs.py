"""Every entry of a run stands in the proof of its account's month once, and the proofs are what a stranger works out from the entries.

The stranger is the second verifier, written from billing/ledger/PROOF.md alone.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import Any

from sqlmodel import col, select

from billing.database import open_engine, sessions_of
from billing.ledger.proof import Chain, to_wire_entry
from billing.ledger.tables import LedgerEntry, LedgerProof
from tests.billing.ledger.second_verifier import root_from_spec


async def unproved(database_url: str) -> list[str]:
    """What is wrong with the proofs of a ledger, in words; nothing where all is well."""
    engine = open_engine(database_url, connections_max=2)
    try:
        async with sessions_of(engine)() as session:
            query = select(LedgerEntry).order_by(col(LedgerEntry.place))
            entries = [row.model_dump() for row in (await session.execute(query)).scalars()]
            proofs = list((await session.execute(select(LedgerProof))).scalars())
    finally:
        await engine.dispose()
    return judged(
        entries, {(p.account_id, p.booked_month): (p.entries, Chain(p.entries, p.head).root()) for p in proofs}
    )


def judged(entries: list[dict[str, Any]], stated: dict[tuple[str, str], tuple[int, str]]) -> list[str]:
    """The same of rows in the order of their places, and of (entries, root) by account and month."""
    faults = [f"entry {entry_id} stands in the ledger {n} times" for entry_id, n in _repeated(entries, "entry_id")]
    chains: dict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
    by_call: dict[Any, list[str]] = defaultdict(list)
    for entry in entries:
        chains[entry["account_id"], entry["booked_month"]].append(entry)
        by_call[entry["call_id"]].append(entry["kind"])
    faults += [f"call {call}: {kinds}" for call, kinds in by_call.items() if sorted(kinds) not in _WHOLE]
    for key in sorted(chains.keys() | stated.keys()):
        own, (count, root) = chains.get(key, []), stated.get(key, (0, ""))
        if [entry["place"] for entry in own] != list(range(1, count + 1)):
            faults.append(f"{key}: {len(own)} entries, {count} in the proof")
        elif own and root_from_spec(*key, [to_wire_entry(entry) for entry in own]) != root:
            faults.append(f"{key}: the entries lead to another root")
    return faults


_WHOLE = (["call"], ["call", "call", "reversal"])
"""What a call may have: its entry; or an estimate, its reversal, and the exact one."""


def _repeated(entries: list[dict[str, Any]], name: str) -> list[tuple[Any, int]]:
    return [(value, n) for value, n in Counter(entry[name] for entry in entries).items() if n > 1]
