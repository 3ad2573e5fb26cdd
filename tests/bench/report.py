"""The figures as tables: once for the terminal, once as Markdown. Pure, but for the versions that are read off the machine."""

from __future__ import annotations

import os
import platform
import statistics
import sysconfig
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.bench import calls, processes
from tests.bench.hotspots import Hotspots
from tests.bench.measures import Figures, Measured, Scale

_LIBRARIES = ("uvicorn", "uvloop", "httptools", "httpx", "redis", "msgspec")
_MIB = 1024 * 1024
NO_FLOOR = "nginx not installed: no floor"


@dataclass(frozen=True, slots=True)
class Part:
    """One table, with what must be known to read it."""

    title: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    note: str = ""


def parts_of(found: Measured, scale: Scale, loader: str) -> list[Part]:
    """The tables of the measurements."""
    return [
        Part(
            f"At saturation: {scale.connections} connections, answers of {calls.ANSWER_BYTES} bytes",
            ("", "requests/s", "CPU µs/request", "of the floor", "its core busy"),
            [
                (name, f"{f.median_per_second:,.0f}", _us(f), _ratio(f, found.saturation), f"{f.median_busy_ratio:.0%}")
                for name, f in found.saturation.items()
            ],
            f"Medians of {scale.runs} runs of {scale.seconds:g} s, in turn; load by {loader}.",
        ),
        Part(
            "The gateway's processes at saturation",
            ("process", "CPU µs/request"),
            [(role, f"{spent:.1f}") for role, spent in found.roles_cpu_us.items()],
            "Until the ledger was complete. All but the worker share the other core with mock and load.",
        ),
        Part(
            "Streams",
            ("", "events/s", "CPU µs/event", "of the floor", "its core busy", "peak memory"),
            [*_stream_rows(found.paced, "paced"), *_stream_rows(found.burst, "unpaced")],
            _stream_note(scale),
        ),
        Part(
            f"Added latency at low load: one connection, {scale.latency_per_second:g} calls/s",
            ("", "p50 ms", "p99 ms", "added p50 ms", "added p99 ms"),
            _latency_rows(found.latencies_s),
            f"The three in turn, call by call; {len(found.latencies_s['mock']):,} calls each; every answer compared.",
        ),
        Part(
            "Memory of the worker",
            ("when", "MiB"),
            [(when, f"{size / _MIB:.1f}") for when, size in found.rss_bytes.items()],
        ),
    ]


def profile_parts(spots: Hotspots) -> list[Part]:
    """The tables of the profile."""
    note = f"py-spy at saturation, {spots.samples:,} samples of the worker."
    return [
        Part(
            "Where the worker's time goes, by function of ours and all that libraries do under it",
            ("function", "share"),
            [(name, f"{share:.1%}") for name, share in spots.own_functions],
            note,
        ),
        Part(
            "Where the worker's time goes, by function alone",
            ("function", "share"),
            [(name, f"{share:.1%}") for name, share in spots.functions],
            "A C function counts for the Python function that calls it.",
        ),
    ]


def machine(gateway_pid: int, nginx_version: str | None, found: Measured, *, apart: bool) -> list[str]:
    """What these figures were taken on."""
    libraries = ", ".join(f"{name} {version(name)}" for name in _LIBRARIES)
    stores = ", ".join(_store_versions(gateway_pid))
    build = processes.said_build(sysconfig.get_config_var("CONFIG_ARGS") or "")
    return [
        day_and_machine(apart=apart),
        f"Python {platform.python_version()} ({build}), {libraries}",
        f"nginx {nginx_version}, {stores}" if nginx_version else f"{NO_FLOOR}; {stores}",
        f"busy with other programs meanwhile: {found.foreign_ratio:.0%} of all cores; "
        f"an empty Python call: {processes.python_call_ns():.0f} ns",
        f"every answer had status 200; the ledger holds all {found.ledger_calls:,} calls that the mock served, with its counts",
    ]


def day_and_machine(*, apart: bool) -> str:
    """The first of the facts."""
    pinned = "the measured process alone on one core" if apart else "one core only: everything shares it"
    system = f"{platform.system()} {platform.release()}"
    return f"{datetime.now(UTC):%Y-%m-%d}, {_cpu_model()}, {os.cpu_count()} cores, {system}; {pinned}"


def show(console: Console, facts: list[str], parts: list[Part]) -> None:
    """To the terminal."""
    for part in parts:
        console.print(part.title, style="bold", highlight=False)
        table = Table(*part.head)
        for row in part.rows:
            table.add_row(*row)
        console.print(table)
        console.print(part.note, "", style="dim", highlight=False, sep="\n" if part.note else "")
    for fact in facts:
        console.print(f"· {fact}", highlight=False)


def to_markdown(facts: list[str], parts: list[Part]) -> str:
    """For RESULTS.md."""
    lines = [f"- {fact}" for fact in facts]
    for part in parts:
        lines += ["", f"## {part.title}", "", *([part.note, ""] if part.note else [])]
        lines += ["| " + " | ".join(cells) + " |" for cells in (part.head, ["---"] * len(part.head), *part.rows)]
    return "\n".join(lines) + "\n"


def _us(figures: Figures) -> str:
    return f"{figures.median_cpu_us:.1f}"


def _ratio(figures: Figures, among: dict[str, Figures]) -> str:
    floor = among.get("nginx")
    return "–" if floor is None else f"{figures.median_cpu_us / floor.median_cpu_us:.2f} ×"


def _stream_rows(among: dict[str, Figures], how: str) -> list[tuple[str, ...]]:
    return [
        (
            *(f"{name}, {how}", f"{f.median_per_second:,.0f}", _us(f), _ratio(f, among), f"{f.median_busy_ratio:.0%}"),
            f"{f.peak_rss_bytes / _MIB:.1f} MiB" if f.peak_rss_bytes else "–",
        )
        for name, f in among.items()
    ]


def _stream_note(scale: Scale) -> str:
    paced = f"Paced: {scale.paced_streams} at once, {scale.paced.events} events each, {scale.paced.gap_ms} ms apart"
    unpaced = f"Unpaced: {scale.burst_streams} at once, {scale.burst_events} events each, as fast as they go"
    return f"{paced}: each is a read and a write of its own. {unpaced}: many may travel in one read."


def _latency_rows(latencies_s: dict[str, list[float]]) -> list[tuple[str, ...]]:
    direct = _percentiles_ms(latencies_s["mock"])
    rows: list[tuple[str, ...]] = [("mock, directly", *(f"{ms:.2f}" for ms in direct), "–", "–")]
    for name, samples in latencies_s.items():
        if name != "mock":
            through = _percentiles_ms(samples)
            added = (f"{ms - base:.2f}" for ms, base in zip(through, direct, strict=True))
            rows.append((name, *(f"{ms:.2f}" for ms in through), *added))
    return rows


def _percentiles_ms(samples_s: list[float]) -> tuple[float, float]:
    """(p50, p99)."""
    cuts = statistics.quantiles(samples_s, n=100)
    return cuts[49] * 1000, cuts[98] * 1000


def _cpu_model() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


def _store_versions(gateway_pid: int) -> list[str]:
    roles = processes.by_role(gateway_pid)
    said = [processes.said_version(pid) for role in (processes.POSTGRES, processes.VALKEY) for pid in roles[role]]
    return [line for line in said if line]
