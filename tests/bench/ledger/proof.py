"""Any one of many entries altered, dropped, added or moved: is it always found? Run: python -m tests.bench.ledger.proof [--entries 100000]

A chain's value after an entry follows from the value before it and the entry's hash. So a change at a place shows as another value
there, and a root that still came out right would need two different pairs with one SHA-256. Every place is spoiled in each of the four
ways, and its value compared, by both verifiers with their own hashing: `solar_sdk.receipts` and the second one, written from the
specification (that is some hashes each, not a walk to the end of the month). Altering changes another field at every place. A sample of
spoiled statements is walked to the root by both. A true statement is checked too: no false alarm. Exit: 0; 1 where one was not found.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from billing.ledger.entry import Settled
from billing.ledger.proof import FIELDS, root_of, to_wire_entry
from billing.ledger.record import from_wire_record
from solar_sdk import receipts
from tests.bench.ledger.entries import MONTH, PARTNER, records
from tests.billing.ledger import second_verifier as spec
from tests.billing.ledger.rows import row_of

WAYS = ("altered", "dropped", "added", "moved")
_SAMPLE = 4
_Entry = dict[str, Any]


@dataclass(frozen=True)
class Verifier:
    """The steps of one verifier: how it hashes an entry, and how it hashes under a label."""

    name: str
    leaf: Callable[[_Entry], bytes]
    hashed: Callable[[str, bytes], bytes]
    begin: bytes

    def link(self, value: bytes, leaf: bytes) -> bytes:
        return self.hashed("link", value + leaf)

    def root(self, value: bytes, entries: int) -> str:
        return self.hashed("root", value + str(entries).encode()).hex()


VERIFIERS = (
    Verifier(
        "solar_sdk.receipts",
        lambda entry: receipts._hash("entry", receipts._json(receipts._texts(entry))),
        receipts._hash,
        receipts._hash("month", receipts._json([PARTNER, str(MONTH)])),
    ),
    Verifier(
        "the second verifier",
        lambda entry: spec.hashed("entry", spec.canonical(entry)),
        spec.hashed,
        spec.hashed("month", spec.json_of([PARTNER, str(MONTH)])),
    ),
)


def altered(entry: _Entry, field: str) -> _Entry:
    """One field of it changed, as little as can be."""
    value = entry[field]
    if isinstance(value, bool):
        return entry | {field: not value}
    return entry | {field: value + 1 if isinstance(value, int) else f"{value or ''}1"}


def undetected(by: Verifier, entries: Sequence[_Entry], stated: str) -> dict[str, list[int]]:
    """Places whose spoiling leaves the chain as it was, by the way of spoiling; in each of the four ways at every place.

    Raises `SystemExit` where the true statement leads to another root than `stated`.
    """
    leaves = [by.leaf(entry) for entry in entries]
    values, last = [by.begin], len(leaves) - 1
    for leaf in leaves:
        values.append(by.link(values[-1], leaf))
    if by.root(values[-1], len(leaves)) != stated:
        raise SystemExit(f"a false alarm of {by.name}: the true statement leads to another root")
    added = by.leaf(altered(entries[0], "entry_id"))
    found: dict[str, list[int]] = {way: [] for way in WAYS}
    seen = set(values)
    for at, entry in enumerate(entries):
        before, after = values[at], values[at + 1]
        if by.link(before, by.leaf(altered(entry, FIELDS[at % len(FIELDS)]))) in seen:
            found["altered"].append(at)
        if by.link(after, added) in seen:
            found["added"].append(at)
        if at == last:
            continue
        # Dropped: the next entry is linked to the value before this one.
        if (next_to_before := by.link(before, leaves[at + 1])) in seen:
            found["dropped"].append(at)
        if by.link(next_to_before, leaves[at]) in seen:
            found["moved"].append(at)
    if by.root(values[last], last) == stated:  # the last one dropped leaves an earlier value and a shorter count
        found["dropped"].append(last)
    return found


def walked(entries: Sequence[_Entry], stated: str, rng: random.Random, sample: int) -> int:
    """How many of `sample` spoiled statements both verifiers found, each walked to its root."""
    caught = 0
    for number in range(sample):
        at = rng.randrange(len(entries) - 1)
        way, spoiled = WAYS[number % len(WAYS)], list(entries)
        if way == "altered":
            spoiled[at] = spoiled[at] | {"attempts": 99}
        elif way == "dropped":
            del spoiled[at]
        elif way == "added":
            spoiled.insert(at, entries[at + 1])
        else:
            spoiled[at], spoiled[at + 1] = spoiled[at + 1], spoiled[at]
        try:
            found = receipts.root_of(PARTNER, str(MONTH), spoiled) != stated
        except receipts.EntryWrong:
            found = True
        caught += found and spec.root_from_spec(PARTNER, str(MONTH), spoiled) != stated
    return caught


def statement_of(count: int) -> tuple[list[_Entry], str]:
    """One account's month as it is exported, and its root."""
    rows = [row_of(Settled(from_wire_record(wire))) | {"account_id": PARTNER} for wire in records(count)]
    stated = root_of(PARTNER, str(MONTH), rows)
    return [to_wire_entry(row | {"place": at}) for at, row in enumerate(rows, 1)], stated


def _took(begun: tuple[float, float]) -> str:
    return (
        f"{time.perf_counter() - begun[0]:.1f} s, of which {time.process_time() - begun[1]:.1f} s were ours on the CPU"
    )


def main() -> int:
    asked = argparse.ArgumentParser(prog="python -m tests.bench.ledger.proof", description="Is any one change found?")
    asked.add_argument("--entries", type=int, default=100_000)
    entries, stated = statement_of(asked.parse_args().entries)
    missed = 0
    for by in VERIFIERS:
        begun = time.perf_counter(), time.process_time()
        found = undetected(by, entries, stated)
        missed += sum(map(len, found.values()))
        said = ", ".join(f"{way} {len(places)}" for way, places in found.items())
        print(
            f"{len(entries):,} entries, each spoiled in four ways, {by.name}: not found: {said}; {_took(begun)}",
            flush=True,
        )
    begun = time.perf_counter(), time.process_time()
    receipts.root_of(PARTNER, str(MONTH), entries)
    print(f"one walk to the root by solar_sdk.receipts: {_took(begun)}", flush=True)
    begun = time.perf_counter(), time.process_time()
    caught = walked(entries, stated, random.Random(1), _SAMPLE)
    print(f"walked to the root by two verifiers: {caught} of {_SAMPLE} found, no false alarm, {_took(begun)}")
    return int(missed > 0 or caught != _SAMPLE)


if __name__ == "__main__":
    sys.exit(main())
