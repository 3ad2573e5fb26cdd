"""The sizing table of deploy/runbook.md, worked out from the figures of RESULTS.md, so that it says what was last measured.

Whoever writes RESULTS.md by `make bench` writes it, too; after a change by hand `python -m tests.bench.sizing` does, and
tests/deploy/test_sizing.py fails until then.
Units: µs of CPU a call, calls/s, bytes. Errors: `KeyError` where RESULTS.md lacks a figure, `ValueError` where the runbook has no table.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

_HERE = Path(__file__).resolve()
RESULTS = _HERE.with_name("RESULTS.md")
RUNBOOK = _HERE.parents[2] / "deploy" / "runbook.md"
BEGIN = "<!-- written by `python -m tests.bench.sizing` from tests/bench/RESULTS.md -->"
END = "<!-- as far as here -->"

BUSY = Fraction(6, 10)
"""How busy a core is planned to be."""
CALL_S = 2
UNDER_WAY_MAX = 1024
"""Calls at once of a worker: GATEWAY_UPSTREAM_CONNECTIONS_MAX."""
ENTRY_BYTES = 540
"""A ledger entry with its indexes (tests/bench/ledger/RESULTS.md)."""
_DAY_S = 86_400


@dataclass(frozen=True)
class Figures:
    """What was measured: µs of CPU a call of each process, and of the worker a streamed event."""

    day: str
    worker: Fraction
    drain: Fraction
    valkey: Fraction
    postgres: Fraction
    events: tuple[Fraction, Fraction]


def figures_of(results: str) -> Figures:
    """Read RESULTS.md; what stands below "Other runs" is of other days."""
    newest = results.partition("\n## Other runs")[0]
    processes = dict(re.findall(r"^\| ([^|]+?) \| ([\d.]+) \|$", newest, re.M))
    events = dict(re.findall(r"^\| gateway, (paced|unpaced) \| [\d,]+ \| ([\d.]+) \|", newest, re.M))
    day = re.search(r"^- (\d{4}-\d\d-\d\d), ", newest, re.M)
    if day is None:
        raise KeyError("the day of the measurement")
    names = ("worker", "jobs (drain)", "Valkey", "Postgres")
    worker, drain, valkey, postgres = (Fraction(processes[name]) for name in names)
    return Figures(day[1], worker, drain, valkey, postgres, (Fraction(events["unpaced"]), Fraction(events["paced"])))


def carried(us: Fraction) -> Fraction:
    """Calls/s of a core that spends so much on each."""
    return BUSY * 1_000_000 / us


def cores(calls_per_s: Fraction, us: Fraction) -> int:
    """Cores for so many calls/s."""
    return math.ceil(calls_per_s / carried(us))


def _short(number: Fraction | int) -> str:
    """Two digits that count, as a person reads them: 1,400 or 5.1 M."""
    digits = len(str(int(number)))
    rounded = int(number) if digits <= 2 else round(int(number), 2 - digits)
    for unit, size in (("G", 10**9), ("M", 10**6)):
        if rounded >= size:
            value = Fraction(rounded, size)
            return f"{float(value):g} {unit}"
    return f"{rounded:,}"


def _bytes(number: Fraction) -> str:
    for unit, size in (("TB", 10**12), ("GB", 10**9), ("MB", 10**6)):
        if number >= size:
            return f"{_short(number / size)} {unit}" if number / size >= 10 else f"{float(number / size):.1f} {unit}"
    return f"{int(number)} B"


def _row(worker_cores: int, figures: Figures, what: str) -> str:
    calls = worker_cores * min(carried(figures.worker), Fraction(UNDER_WAY_MAX, CALL_S))
    parts = {
        "drain": cores(calls, figures.drain),
        "valkey": cores(calls, figures.valkey),
        "postgres": cores(calls, figures.postgres),
    }
    masters = "1" if parts["valkey"] == 1 else f"{_short(parts['valkey'])} masters"
    a_day = f"{_short(calls * _DAY_S)} calls, {_bytes(calls * _DAY_S * ENTRY_BYTES)}"
    cells = [f"{worker_cores:,}", _short(calls), _short(calls * CALL_S), _short(parts["drain"]), masters]
    return "| " + " | ".join([*cells, _short(parts["postgres"]), a_day, what.format(**parts)]) + " |"


def table(figures: Figures) -> str:
    """The part of the runbook between its two marks."""
    worker, drain, valkey, postgres = (
        _short(carried(us)) for us in (figures.worker, figures.drain, figures.valkey, figures.postgres)
    )
    least, most = (math.floor(us + Fraction(1, 2)) for us in figures.events)
    whole = [f"{float(us):.0f}" for us in (figures.worker, figures.drain, figures.valkey, figures.postgres)]
    busy, streams = f"{float(BUSY):g}", UNDER_WAY_MAX // CALL_S
    a_day = _bytes(Fraction(_DAY_S * ENTRY_BYTES))
    one = "one machine: `compose.yaml` or systemd, one Valkey, one Postgres"
    hundred = (
        "`kubernetes/`: a Redis Cluster of {valkey} masters with replicas (64 shards: `GATEWAY_SHARDS`), Postgres on Citus by account "
        "with {postgres} nodes; months older than the open ones detached to object storage"
    )
    myriad = (
        "a hundred cells of the row above, an account in one of them for good (its shard says which): a Redis Cluster is meant for "
        "1,000 nodes at most, and nothing is shared between accounts but prices and the close of the month, which sums up cells"
    )
    lines = [
        "",
        f"What one core carries, by `make bench` ({figures.day}, one core a process; measure yours): a whole call costs the worker "
        f"{whole[0]} µs of CPU, the",
        f"drain {whole[1]}, Valkey {whole[2]}, Postgres {whole[3]}. A streamed event costs the worker {least} to {most} µs. A ledger "
        f"entry takes {ENTRY_BYTES} bytes with its indexes.",
        f"Planned are cores that are {float(BUSY):.0%} busy:",
        "",
        "| one core of | carries calls/s | what else bounds it |",
        "|---|---|---|",
        f"| worker | {busy} / {whole[0]} µs = {worker} | {UNDER_WAY_MAX:,} calls under way at once "
        f"(`GATEWAY_UPSTREAM_CONNECTIONS_MAX`): at {CALL_S} s a call {streams} calls/s, so long before its CPU |",
        f"| drain (`work`) | {busy} / {whole[1]} µs = {drain} | one round trip to Postgres a batch |",
        f"| Valkey | {busy} / {whole[2]} µs = {valkey} | memory: 1 KB a call until it is drained, about 1 KB a call under way |",
        f"| Postgres | {busy} / {whole[3]} µs = {postgres} | disk: {ENTRY_BYTES} B a call, so {a_day} a day for each call/s |",
        "",
        f"So cores for workers = max(calls/s ÷ {worker}, calls/s × seconds a call ÷ {UNDER_WAY_MAX:,}). Calls that take {CALL_S} s, beside "
        "what the arithmetic gives:",
        "",
        "| worker cores | calls/s | under way | drain | Valkey | Postgres | a day | which part becomes what |",
        "|---|---|---|---|---|---|---|---|",
        _row(1, figures, one),
        _row(100, figures, hundred),
        _row(10_000, figures, myriad),
        "",
    ]
    return "\n".join(lines)


def written(runbook: str, results: str) -> str:
    """The runbook with its table as RESULTS.md has it."""
    head, begun, rest = runbook.partition(BEGIN)
    _, ended, tail = rest.partition(END)
    if not begun or not ended:
        raise ValueError("runbook.md has no place for the sizing table")
    return head + BEGIN + table(figures_of(results)) + END + tail


def write() -> None:
    """Write the runbook again."""
    now = RUNBOOK.read_text(encoding="utf-8")
    RUNBOOK.write_text(written(now, RESULTS.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    write()
