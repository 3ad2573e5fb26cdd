"""Two long looks at the memory of one worker: very many streams open at once, and minutes at saturation.

The floor is not measured here, only what grows. As everywhere in this bench every answer is checked, and at the end the ledger must hold
exactly what the mock served. Units: bytes of resident memory, seconds.
"""

from __future__ import annotations

import resource
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from tests.bench import processes
from tests.bench.callers import Order
from tests.bench.calls import Stream
from tests.bench.load import carry_out, saturate
from tests.bench.report import Part
from tests.bench.stage import Stage

_KIB, _MIB = 1024, 1024 * 1024
_SAMPLES = 12
_SPARE_FILES = 1_000
_FILES_PER_STREAM = 2
"""A socket of the client's and one of upstream's."""
_OPEN = Stream(events=10, gap_ms=4000)

Sample = tuple[float, int]
"""(seconds since the beginning, bytes of resident memory)"""


def allow_files(streams: int) -> None:
    """Let this process and what it starts hold so many streams open; raises `ValueError` where the machine does not allow it."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = streams * _FILES_PER_STREAM + _SPARE_FILES
    if hard not in (resource.RLIM_INFINITY,) and hard < needed:
        raise ValueError(f"{streams} streams need {needed} open files, this machine allows {hard}")
    resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))


def settings_for(streams: int) -> dict[str, str]:
    """The bounds of a gateway that is to hold so many streams."""
    return {"GATEWAY_UPSTREAM_CONNECTIONS_MAX": str(streams + _SPARE_FILES)}


def hold_streams(stage: Stage, streams: int) -> Part:
    """So many streams open at once on the one worker, each with an event every few seconds."""
    order = Order(base_urls=[stage.gateway.url], secret=stage.secret, seconds=0, connections=1, stream=Stream(2, 0))
    carry_out(order)
    before = processes.rss_bytes(stage.worker_pids)
    order.connections, order.stream = streams, _OPEN
    begun_s = processes.cpu_s(stage.worker_pids)
    with _watched(stage, 0.5) as samples:
        report = carry_out(order)
    cpu_us = (processes.cpu_s(stage.worker_pids) - begun_s) / (report.answers * _OPEN.events) * 1e6
    stage.settled()
    after = processes.rss_bytes(stage.worker_pids)
    peak = max(size for _, size in samples)
    return Part(
        f"{streams:,} streams open at once on one worker",
        ("", ""),
        [
            ("streams, all to their end", f"{report.answers:,}"),
            ("seconds", f"{report.seconds:.0f}"),
            ("CPU µs/event", f"{cpu_us:.1f}"),
            ("worker before, MiB", f"{before / _MIB:.1f}"),
            ("worker at its peak, MiB", f"{peak / _MIB:.1f}"),
            ("KiB for each stream", f"{(peak - before) / streams / _KIB:.1f}"),
            ("worker after, MiB", f"{after / _MIB:.1f}"),
        ],
        f"{_OPEN.events} events each, {_OPEN.gap_ms} ms apart; opening and closing included.",
    )


def saturate_for(stage: Stage, minutes: float, connections: int) -> Part:
    """Minutes at saturation: what grows, grows here."""
    with _watched(stage, minutes * 60 / (_SAMPLES * 4)) as samples:
        report = saturate(stage.gateway.url, stage.secret, minutes * 60, connections, stage.work_dir)
    stage.settled()
    shown = thinned(samples, _SAMPLES)
    return Part(
        f"{minutes:g} minutes at saturation: {report.answers:,} calls",
        ("after s", "worker MiB"),
        [(f"{at_s:.0f}", f"{size / _MIB:.1f}") for at_s, size in shown],
        f"{connections} connections. From the first third to the last: {growth_ratio(samples):+.1%}.",
    )


def thinned(samples: Sequence[Sample], count: int) -> list[Sample]:
    """So many of them at most, evenly spread, the first and the last among them."""
    if len(samples) <= count:
        return list(samples)
    step = (len(samples) - 1) / (count - 1)
    return [samples[round(at * step)] for at in range(count)]


def growth_ratio(samples: Sequence[Sample]) -> float:
    """By how much the mean of the last third is above that of the first."""
    third = max(1, len(samples) // 3)
    first, last = ([size for _, size in part] for part in (samples[:third], samples[-third:]))
    return (sum(last) / len(last)) / (sum(first) / len(first)) - 1


@contextmanager
def _watched(stage: Stage, every_s: float) -> Iterator[list[Sample]]:
    """The worker's memory while it lasts."""
    samples: list[Sample] = []
    pids, ended, begun = stage.worker_pids, threading.Event(), time.monotonic()

    def watch() -> None:
        while not ended.wait(every_s):
            samples.append((time.monotonic() - begun, processes.rss_bytes(pids)))

    watching = threading.Thread(target=watch)
    watching.start()
    try:
        yield samples
    finally:
        ended.set()
        watching.join()
        samples.append((time.monotonic() - begun, processes.rss_bytes(pids)))
