"""Upstream's own records against the ledger, call by call. Pure, but for the reading of the ledger.

A record of upstream is a serving. Every serving has one entry, and every entry a serving, but for these:
- Solar's answer broke on the wire before a word of it was heard: nothing was received, nothing is charged (`unheard`).
- A call with an Idempotency-Key was attempted again after its worker had died: both servings are one call, charged once, its entry counts
  its attempts, and a worker did die meanwhile (`merged`).
- Two faults were at work at once, a worker and Redis's memory: what they lost is counted, and each such call was under way then, or had
  ended so shortly before that Redis forgot it (`lost_by_two`).
A call with an Idempotency-Key is charged once. More than once is a double, unless two faults were at work at once meanwhile
(`keyed_twice`).
- A worker died with a hold, and upstream never heard of the call: its entry is an estimate (`unserved`).
Exact entries have upstream's counts to the token. Estimated ones may differ; by how much is added up. Units: tokens.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

import asyncpg

from tests.chaos.blame import Blame
from tests.chaos.load import Client, Told

_PROMPT_TOKENS_BOUND = 400
"""More than any prompt of the load has, by any count."""
_OUTPUT_TOKENS_BOUND = 200
"""`max_tokens` of the load: no estimate may be higher."""


@dataclass(frozen=True)
class Entry:
    """What stands in the ledger of one call after all reversals."""

    call_id: UUID
    key_id: str
    accepted_at: datetime
    input_tokens: int
    cached_tokens: int
    output_tokens: int
    estimated_reason: str | None
    attempts: int = 1

    @property
    def counts(self) -> tuple[int, int, int]:
        return self.input_tokens, self.cached_tokens, self.output_tokens


@dataclass
class Verdict:
    """What the audit found. The first three must be empty."""

    lost: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    differing: list[str] = field(default_factory=list)
    servings: int = 0
    entries: int = 0
    exact: int = 0
    estimated: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    estimate_error_tokens: int = 0
    estimate_error_max_tokens: int = 0
    estimate_true_tokens: int = 0
    beyond_bound: list[str] = field(default_factory=list)
    unheard: int = 0
    unserved: int = 0
    keyed: int = 0
    replayed: int = 0
    merged: int = 0
    keyed_twice: list[str] = field(default_factory=list)
    keyed_twice_max: int = 0
    """How many calls with a key were under way while two faults were at work."""
    lost_by_two: list[str] = field(default_factory=list)
    lost_by_two_max: int = 0
    """How many calls two faults could lose."""


def judged(
    clients: Sequence[Client],
    records: Sequence[dict[str, Any]],
    entries: Sequence[Entry],
    spoiled: set[str],
    blame: Blame,
) -> Verdict:
    """`spoiled`: labels of calls whose connection to upstream the proxy broke."""
    verdict = Verdict(entries=len(entries))
    served: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for record in records:
        if record["outcome"] != "refused":
            served[record["id"]].append(record)
    for call_id, count in _counted(entry.call_id for entry in entries).items():
        if count > 1:
            verdict.doubled.append(f"call {call_id} has {count} entries")
    known = {entry.call_id: entry for entry in entries}
    for client in clients:
        own = sorted((e for e in entries if e.key_id == client.key_id), key=lambda entry: entry.accepted_at)
        for told, theirs in _by_call(client.calls, own):
            _judge(verdict, told, served[told.plan.label], theirs, told.plan.label in spoiled, blame)
            verdict.lost_by_two_max += blame.may_be_lost(told)
            if told.whole and (told.call_id is None or UUID(told.call_id) not in known):
                _lose(verdict, blame, told, f"the client has the answer of {told.call_id}, the ledger has nothing")
    return verdict


def _by_call(calls: Sequence[Told], own: Sequence[Entry]) -> list[tuple[Told, list[Entry]]]:
    """Each call of a client with the entries that were accepted in its time."""
    ends = [told.begun_ns for told in calls[1:]] + [2**63]
    grouped, at = [], 0
    for told, end_ns in zip(calls, ends, strict=True):
        theirs = []
        while at < len(own) and _ns(own[at].accepted_at) < end_ns:
            theirs.append(own[at])
            at += 1
        grouped.append((told, theirs))
    return grouped


def _judge(
    verdict: Verdict,
    told: Told,
    records: list[dict[str, Any]],
    entries: list[Entry],
    is_spoiled: bool,
    blame: Blame,
) -> None:
    label = told.plan.label
    verdict.servings += len(records)
    verdict.keyed += told.plan.keyed
    verdict.replayed += told.replayed
    exact = [entry for entry in entries if entry.estimated_reason is None]
    guessed = [entry for entry in entries if entry.estimated_reason is not None]
    verdict.exact += len(exact)
    if told.plan.keyed:
        _judge_key(verdict, told, entries, blame)
    left = list(records)
    for entry in exact:
        # One that upstream could not send to its last byte has told its usage all the same, perhaps.
        whole = [record for record in left if record["outcome"] == "served" or record["usage_sent"]]
        same = [record for record in whole if _counts(record) == entry.counts]
        if whole:
            left.remove((same or whole)[0])
        if whole and not same:
            verdict.differing.append(f"{label}: entry {entry.counts}, upstream {[_counts(r) for r in whole]}")
        if not whole:
            verdict.doubled.append(f"{label}: an exact entry {entry.call_id} for {len(records)} servings: {records}")
    for entry in guessed:
        verdict.estimated[str(entry.estimated_reason)] += 1
        if left:
            _judge_estimate(verdict, label, entry, left.pop(0))
        else:
            verdict.unserved += 1
    # Of a worker that died before upstream answered it: another attempt of the same call was charged.
    more = min(sum(entry.attempts - 1 for entry in exact), blame.died(told)) if told.plan.keyed else 0
    for record in left:
        heard_nothing = is_spoiled or record["outcome"] == "cut"
        if heard_nothing:
            verdict.unheard += 1
        elif more > 0:
            more -= 1
            verdict.merged += 1
        else:
            _lose(
                verdict, blame, told, f"served {_counts(record)} {record['outcome']}, no entry; the client saw {told}"
            )


def _judge_key(verdict: Verdict, told: Told, entries: list[Entry], blame: Blame) -> None:
    """Is a call with an Idempotency-Key charged once? What it is charged is another question."""
    verdict.keyed_twice_max += blame.by_two(told)
    if len(entries) < 2:
        return
    meanwhile = sorted(blame.at_once(told.begun_ns, told.ended_ns))
    what = (
        f"{told.plan.label}: {len(entries)} entries of one key: {entries}; at work: {meanwhile}; the client saw {told}"
    )
    (verdict.keyed_twice if blame.by_two(told) else verdict.doubled).append(what)


def _lose(verdict: Verdict, blame: Blame, told: Told, what: str) -> None:
    (verdict.lost_by_two if blame.may_be_lost(told) else verdict.lost).append(f"{told.plan.label}: {what}")


def _judge_estimate(verdict: Verdict, label: str, entry: Entry, record: dict[str, Any]) -> None:
    true, told = sum(_counts(record)), sum(entry.counts)
    error = abs(told - true)
    verdict.estimate_true_tokens += true
    verdict.estimate_error_tokens += error
    verdict.estimate_error_max_tokens = max(verdict.estimate_error_max_tokens, error)
    if entry.output_tokens > _OUTPUT_TOKENS_BOUND or entry.input_tokens > _PROMPT_TOKENS_BOUND:
        verdict.beyond_bound.append(f"{label}: {entry}")


def _counts(record: dict[str, Any]) -> tuple[int, int, int]:
    return (
        record["prompt_tokens"] - record["cached_tokens"],
        record["cached_tokens"],
        record["completion_tokens"],
    )


def _counted(call_ids: Any) -> dict[UUID, int]:
    counts: dict[UUID, int] = defaultdict(int)
    for call_id in call_ids:
        counts[call_id] += 1
    return counts


def _ns(instant: datetime) -> int:
    # The ledger keeps microseconds: rounded up, so that an entry never seems to come before its call.
    return int(instant.timestamp() * 1_000_000) * 1000 + 999


async def read_entries(database_url: str) -> list[Entry]:
    """All calls of the ledger that no reversal has undone."""
    connection = await asyncpg.connect(database_url.replace("+asyncpg", ""))
    try:
        rows = await connection.fetch(
            """SELECT e.* FROM ledger_entry e WHERE e.kind = 'call'
               AND NOT EXISTS (SELECT 1 FROM ledger_entry r WHERE r.reverses = e.entry_id)"""
        )
    finally:
        await connection.close()
    return [
        Entry(
            row["call_id"],
            row["key_id"],
            row["accepted_at"],
            row["input_tokens"] + row["absorbed_input_tokens"],
            row["cached_input_tokens"] + row["absorbed_cached_input_tokens"],
            row["output_tokens"] + row["absorbed_output_tokens"],
            row["estimated_reason"],
            row["attempts"],
        )
        for row in rows
    ]
