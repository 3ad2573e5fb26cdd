"""What the ledger does with many entries. Run: python -m tests.bench.ledger [--entries 1000000] [--at-most-s S]

On a Postgres of its own: the rate at which records become entries (decoded, priced, chained, rolled up, committed), in twenty parts, so
that a bend in the line is seen, with the CPU time of an entry, for a machine is seldom ours alone; a month's usage from the rollups;
the rollups against the full sum; one partner's month verified by `solar_sdk.receipts`, and whether an altered, dropped, added or moved
entry of it is found. Seconds are wall time, memory MiB resident.
Exit: 0; 1 where something is not as it must be.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import random
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import uvloop
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from billing.database import Sessions, open_engine, sessions_of
from billing.ledger.calls import stream_calls
from billing.ledger.entry import Settled
from billing.ledger.journal import append
from billing.ledger.read import proof_root
from billing.ledger.record import from_wire_record
from billing.ledger.rollups import Differences, check_rollups
from billing.ledger.usage import usage
from gateway.migrate import migrate
from gateway.sandbox.postgres import Postgres
from solar_sdk import receipts
from tests.bench.ledger.entries import MONTH, PARTNER, ZONE, recorded_at, records
from tests.bench.processes import Foreign

_PARTS = 20
_ROUND = 4  # batches a writer takes before the clock is stopped to make new ones
_ACCOUNT_ENDS = slice(67, 73)  # of a record's bytes: `gateway.admission.batch.shard_of`
_PAGE = 1000
_STATEMENT_S = 3600
_SPOILED = 8
_SETTINGS = {"max_wal_size": "4GB", "checkpoint_timeout": "15min"}
"""fsync and synchronous_commit stay on."""


def _memory_mib() -> float:
    return float(psutil.Process().memory_info().rss) / 2**20


async def _ingest(sessions: Sessions, made: Iterator[bytes], count: int, batch: int, writers: int) -> float:
    """Append `count` records; returns the seconds it took, without the making of them.

    Accounts belong to writers as in production they belong to shards, so that no two lengthen one proof at once.
    """
    seconds = 0.0

    async def writer(wires: list[bytes]) -> None:
        for at in range(0, len(wires), batch):
            async with sessions.begin() as session:
                settled = [Settled(from_wire_record(wire)) for wire in wires[at : at + batch]]
                await append(session, settled, recorded_at())

    while count:
        of_writers: list[list[bytes]] = [[] for _ in range(writers)]
        for wire in itertools.islice(made, min(count, batch * writers * _ROUND)):
            of_writers[int(wire[_ACCOUNT_ENDS], 16) % writers].append(wire)
        count -= sum(map(len, of_writers))
        begun = time.perf_counter()
        await asyncio.gather(*map(writer, of_writers))
        seconds += time.perf_counter() - begun
    return seconds


def _cpu_s(postmaster: int) -> tuple[float, float]:
    """CPU seconds so far: of this process, and of Postgres (its writers' connections stay open throughout)."""
    with psutil.Process(postmaster).oneshot():
        family = [psutil.Process(postmaster), *psutil.Process(postmaster).children(recursive=True)]
    return time.process_time(), sum(sum(each.cpu_times()[:2]) for each in family)


async def _usage(sessions: Sessions, entries: int) -> None:
    for account, group_by in ((None, "day"), (None, "model"), (None, "account"), (PARTNER, "day"), (PARTNER, "model")):
        begun = time.perf_counter()
        async with sessions() as session:
            _, total = await usage(session, *MONTH.bounds(ZONE), account_id=account, group_by=group_by, zone=ZONE)
        whose = "partner" if account else "house"
        print(f"usage of the month, {whose}, by {group_by}: {time.perf_counter() - begun:.3f} s, {total.calls:,} calls")
        _must(account is not None or total.calls == entries, "the rollups count every call once")


async def _proof(sessions: Sessions) -> None:
    async with sessions() as session:
        stated = await proof_root(session, PARTNER, str(MONTH))
    begun = time.perf_counter()
    entries = [row async for page in stream_calls(sessions, str(MONTH), PARTNER, _PAGE) for row in page]
    exported = time.perf_counter()
    found = receipts.root_of(PARTNER, str(MONTH), entries)
    verified = time.perf_counter() - exported
    print(f"partner's month: {len(entries):,} calls exported in {exported - begun:.2f} s, verified in {verified:.2f} s")
    _must(found == stated, "a true statement is no alarm")
    caught = sum(_differs(spoiled, stated) for spoiled in _spoil(entries, random.Random(1)))
    print(f"spoiled statements found: {caught} of {_SPOILED}")
    _must(caught == _SPOILED, "every alteration is found")


def _spoil(entries: list[dict[str, Any]], rng: random.Random) -> Iterator[list[dict[str, Any]]]:
    """Altered, dropped, added and moved: two of each, somewhere."""
    for _ in range(_SPOILED // 4):
        at, other = rng.sample(range(len(entries) - 1), 2)
        yield [*entries[:at], entries[at] | {"attempts": 99}, *entries[at + 1 :]]
        yield entries[:at] + entries[at + 1 :]
        yield [*entries[:at], entries[other], *entries[at:]]
        yield [*entries[:at], entries[at + 1], entries[at], *entries[at + 2 :]]


def _differs(entries: list[dict[str, Any]], stated: str | None) -> bool:
    try:
        return receipts.root_of(PARTNER, str(MONTH), entries) != stated
    except receipts.EntryWrong:
        return True


async def _tuned(engine: AsyncEngine, folder: Path) -> int:
    """Settings of a server that is written to all day, instead of a sandbox's; returns the server's process."""
    async with engine.connect() as opened:
        connection = await opened.execution_options(isolation_level="AUTOCOMMIT")
        for name, value in _SETTINGS.items():
            await connection.execute(text(f"ALTER SYSTEM SET {name} = '{value}'"))
        await connection.execute(text("SELECT pg_reload_conf()"))
    return int((folder / "postgres" / "postmaster.pid").read_text(encoding="utf-8").split()[0])


def _must(holds: bool, what: str) -> None:
    if not holds:
        raise SystemExit(f"does not hold: {what}")


async def _bench(entries: int, batch: int, writers: int, at_most_s: int | None, folder: Path) -> None:
    postgres = Postgres(folder)
    await postgres.start()
    try:
        await asyncio.to_thread(migrate, postgres.url)
        engine = open_engine(postgres.url, connections_max=writers + 2, statement_timeout_s=_STATEMENT_S)
        sessions, made = sessions_of(engine), records(entries)
        postmaster, foreign, spent_s = await _tuned(engine, folder), Foreign(), 0.0
        begun_s, done = time.monotonic(), 0
        for part in range(_PARTS):
            count = entries * (part + 1) // _PARTS - entries * part // _PARTS
            own, server = _cpu_s(postmaster)
            seconds = await _ingest(sessions, made, count, batch, writers)
            own, server = (after - before for after, before in zip(_cpu_s(postmaster), (own, server), strict=True))
            spent_s, done, passed_s = spent_s + seconds, done + count, time.monotonic() - begun_s
            print(
                f"part {part + 1:2}: {count:,} entries, {count / seconds:,.0f}/s, CPU µs an entry: "
                f"{own / count * 1e6:.0f} Python (making the records too), {server / count * 1e6:.0f} Postgres; "
                f"{_memory_mib():.0f} MiB; {passed_s:.0f} s",
                flush=True,
            )
            if at_most_s is not None and passed_s * (done + entries / _PARTS) / done > at_most_s:
                print(f"stopped after {done:,} entries: another part would end after {at_most_s} s", flush=True)
                break
        entries = done
        print(
            f"all: {entries / spent_s:,.0f}/s; busy with other programs meanwhile: {foreign.ratio():.0%} of all cores"
        )
        await _usage(sessions, entries)
        begun = time.perf_counter()
        async with sessions() as session:
            differences = await check_rollups(session, MONTH)
        print(f"rollups against the full sum: {differences}, {time.perf_counter() - begun:.1f} s")
        _must(differences == Differences(0, 0), "the rollups equal the full sum")
        await _proof(sessions)
        print(f"memory at the end: {_memory_mib():.0f} MiB (the partner's exported month is held for spoiling)")
        await engine.dispose()
    finally:
        await postgres.stop()


def main() -> None:
    asked = argparse.ArgumentParser(prog="python -m tests.bench.ledger", description="What the ledger does here.")
    asked.add_argument("--entries", type=int, default=1_000_000)
    asked.add_argument("--batch", type=int, default=40_000, help="records a transaction, at most")
    asked.add_argument("--writers", type=int, default=2, help="transactions at once")
    asked.add_argument("--at-most-s", type=int, help="take in no further part that would end after so many seconds")
    given = asked.parse_args()
    with tempfile.TemporaryDirectory(prefix="solar-ledger-") as folder:
        Path(folder).chmod(0o755)  # Postgres may run as another user
        uvloop.run(_bench(given.entries, given.batch, given.writers, given.at_most_s, Path(folder)))


if __name__ == "__main__":
    main()
