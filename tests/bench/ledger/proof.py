"""Any one of many entries altered, dropped, added or moved: is it always found? Run: python -m tests.bench.ledger.proof [--entries 100000]

A chain's value after an entry follows from the value before it and the entry's hash. So a change at a place shows as another value
there, and a root that still came out right would need two different pairs with one SHA-256. Every place is spoiled in each of the four
ways and its value compared (that is one hash each, not a walk to the end); a sample of them is walked to the root by
`solar_sdk.receipts` and by the second verifier. A true statement is checked too: no false alarm. Exit: 0; 1 where one was not found.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections.abc import Sequence
from typing import Any

from billing.ledger.entry import Settled
from billing.ledger.proof import Chain, leaf_of, root_of, to_wire_entry
from billing.ledger.record import from_wire_record
from solar_sdk import receipts
from tests.bench.ledger.entries import MONTH, PARTNER, records
from tests.billing.ledger.rows import row_of
from tests.billing.ledger.second_verifier import root_from_spec

_SAMPLE = 4


def values_of(leaves: Sequence[bytes]) -> list[bytes]:
    """The chain's value before the first entry, and after each."""
    chain = Chain.begin(PARTNER, str(MONTH))
    values = [chain.head]
    for leaf in leaves:
        chain.add(leaf)
        values.append(chain.head)
    return values


def link(value: bytes, leaf: bytes) -> bytes:
    chain = Chain(0, value)
    chain.add(leaf)
    return chain.head


def undetected(rows: Sequence[dict[str, Any]]) -> dict[str, list[int]]:
    """Places whose spoiling leaves the chain as it was, by the way of spoiling; in each of the four ways at every place."""
    leaves = [leaf_of(row) for row in rows]
    values, last = values_of(leaves), len(leaves) - 1
    changed = [leaf_of(row | {"output_tokens": row["output_tokens"] + 1}) for row in rows]
    added = leaf_of(rows[0] | {"entry_id": rows[0]["entry_id"].__class__(int=1)})
    found: dict[str, list[int]] = {"altered": [], "dropped": [], "added": [], "moved": []}
    seen = set(values)
    for at in range(len(leaves)):
        before, after = values[at], values[at + 1]
        if link(before, changed[at]) in seen:
            found["altered"].append(at)
        # Dropped: the next entry is linked to the value before this one; the last one dropped leaves an earlier value and a shorter count.
        if at < last and link(before, leaves[at + 1]) in seen:
            found["dropped"].append(at)
        if link(after, added) in seen:
            found["added"].append(at)
        if at < last and link(link(before, leaves[at + 1]), leaves[at]) in seen:
            found["moved"].append(at)
    if Chain(last, values[last]).root() == Chain(last + 1, values[last + 1]).root():
        found["dropped"].append(last)
    return found


def walked(rows: Sequence[dict[str, Any]], rng: random.Random, sample: int) -> tuple[int, int]:
    """(spoiled statements that both verifiers found, how many there were), each walked to its root."""
    stated = root_of(PARTNER, str(MONTH), rows)
    exported = [to_wire_entry(row | {"place": at}) for at, row in enumerate(rows, 1)]
    if (
        receipts.root_of(PARTNER, str(MONTH), exported) != stated
        or root_from_spec(PARTNER, str(MONTH), exported) != stated
    ):
        raise SystemExit("a false alarm: the true statement leads to another root")
    caught = 0
    for number in range(sample):
        at = rng.randrange(len(rows) - 1)
        way = number % 4
        spoiled = list(exported)
        if way == 0:
            spoiled[at] = spoiled[at] | {"attempts": 99}
        elif way == 1:
            del spoiled[at]
        elif way == 2:
            spoiled.insert(at, exported[at + 1])
        else:
            spoiled[at], spoiled[at + 1] = spoiled[at + 1], spoiled[at]
        try:
            found = receipts.root_of(PARTNER, str(MONTH), spoiled) != stated
        except receipts.EntryWrong:
            found = True
        caught += found and root_from_spec(PARTNER, str(MONTH), spoiled) != stated
    return caught, sample


def rows_of(count: int) -> list[dict[str, Any]]:
    """Entries of one account's month."""
    return [row_of(Settled(from_wire_record(wire))) | {"account_id": PARTNER} for wire in records(count)]


def _took(begun: tuple[float, float]) -> str:
    return (
        f"{time.perf_counter() - begun[0]:.1f} s, of which {time.process_time() - begun[1]:.1f} s were ours on the CPU"
    )


def main() -> int:
    asked = argparse.ArgumentParser(prog="python -m tests.bench.ledger.proof", description="Is any one change found?")
    asked.add_argument("--entries", type=int, default=100_000)
    rows = rows_of(asked.parse_args().entries)
    begun = time.perf_counter(), time.process_time()
    found = undetected(rows)
    print(f"{len(rows):,} entries, each altered, dropped, added and moved: {_took(begun)}", flush=True)
    print("not found: " + ", ".join(f"{way} {len(places)}" for way, places in found.items()))
    exported = [to_wire_entry(row | {"place": at}) for at, row in enumerate(rows, 1)]
    begun = time.perf_counter(), time.process_time()
    receipts.root_of(PARTNER, str(MONTH), exported)
    print(f"one walk to the root by solar_sdk.receipts: {_took(begun)}", flush=True)
    begun = time.perf_counter(), time.process_time()
    caught, of = walked(rows, random.Random(1), _SAMPLE)
    print(f"walked to the root by two verifiers: {caught} of {of} found, no false alarm, {_took(begun)}")
    return int(any(found.values()) or caught != of)


if __name__ == "__main__":
    sys.exit(main())
