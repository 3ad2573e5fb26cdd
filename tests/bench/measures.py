"""The measurements. Each asks the floor and the gateway in turn, round for round, so that both meet the same noise.

Units: µs of CPU of the measured process, seconds, bytes. A figure is the median of its rounds. After each measurement the ledger is
compared with the mock (stage.py): a call lost or counted twice ends the bench.
"""

from __future__ import annotations

import statistics
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial

from tests.bench import processes
from tests.bench.callers import Order, Report
from tests.bench.calls import Stream
from tests.bench.load import carry_out, saturate
from tests.bench.stage import Stage, Target

_RSS_POLL_S = 0.2


_PACED = Stream(events=200, gap_ms=50)


@dataclass(frozen=True, slots=True)
class Scale:
    """How long and how often; `quick` is for a first look."""

    seconds: float = 8.0
    runs: int = 3
    warm_up_s: float = 1.0
    connections: int = 32
    burst_streams: int = 16
    burst_events: int = 200
    burst_s: float = 4.0
    paced_streams: int = 200
    paced: Stream = _PACED
    latency_s: float = 20.0
    latency_per_second: float = 50.0


QUICK = Scale(seconds=2.0, burst_s=0.8, paced=Stream(events=60, gap_ms=50), latency_s=4.0)


@dataclass
class Figures:
    """Rounds of one measurement of one target."""

    cpu_us: list[float] = field(default_factory=list)
    per_second: list[float] = field(default_factory=list)
    busy_ratio: list[float] = field(default_factory=list)
    answers: int = 0
    peak_rss_bytes: int = 0

    def add(self, count: float, cpu_s: float, seconds: float) -> None:
        self.cpu_us.append(cpu_s / count * 1e6)
        self.per_second.append(count / seconds)
        self.busy_ratio.append(cpu_s / seconds)

    @property
    def median_cpu_us(self) -> float:
        return statistics.median(self.cpu_us)

    @property
    def median_per_second(self) -> float:
        return statistics.median(self.per_second)

    @property
    def median_busy_ratio(self) -> float:
        return statistics.median(self.busy_ratio)


@dataclass
class Measured:
    """Everything that was found out."""

    saturation: dict[str, Figures] = field(default_factory=dict)
    roles_cpu_us: dict[str, float] = field(default_factory=dict)
    burst: dict[str, Figures] = field(default_factory=dict)
    paced: dict[str, Figures] = field(default_factory=dict)
    latencies_s: dict[str, list[float]] = field(default_factory=dict)
    rss_bytes: dict[str, int] = field(default_factory=dict)
    ledger_calls: int = 0
    foreign_ratio: float = 0.0


Say = Callable[[str], None]


def measure(stage: Stage, scale: Scale, say: Say) -> Measured:
    """All measurements, in an order in which none spoils the next."""
    found, foreign = Measured(), processes.Foreign()
    for target in stage.targets:
        saturate(target.url, stage.secret, scale.warm_up_s, scale.connections, stage.work_dir)
    stage.settled()
    found.rss_bytes["after warming up"] = processes.rss_bytes(stage.worker_pids)
    say(f"latency at {scale.latency_per_second:g} calls/s, {scale.latency_s:g} s")
    _latency(stage, scale, found)
    say(f"saturation, {scale.runs} × {scale.seconds:g} s for each target")
    _saturation(stage, scale, found)
    calls_so_far = stage.settled().calls
    found.rss_bytes[f"after {calls_so_far:,} calls at saturation"] = processes.rss_bytes(stage.worker_pids)
    say(f"streams of {scale.burst_events} events, unpaced, {scale.burst_streams} at once")
    _burst(stage, scale, found)
    say(f"{scale.paced_streams} streams at once, an event every {scale.paced.gap_ms} ms")
    _paced(stage, scale, found)
    found.ledger_calls = stage.settled().calls
    found.rss_bytes["at the end"] = processes.rss_bytes(stage.worker_pids)
    found.foreign_ratio = foreign.ratio()
    return found


def _latency(stage: Stage, scale: Scale, found: Measured) -> None:
    """Low load, one connection each; the mock, the floor and the gateway in turn, call by call."""
    where = {"mock": stage.mock_url} | {target.name: target.url for target in stage.targets}
    report = carry_out(
        Order(
            base_urls=list(where.values()),
            secret=stage.secret,
            seconds=scale.latency_s,
            per_second=scale.latency_per_second,
        )
    )
    found.latencies_s = dict(zip(where, report.latencies_s, strict=True))


def _saturation(stage: Stage, scale: Scale, found: Measured) -> None:
    pid = stage.gateway.process.pid
    roles_s, answers = dict.fromkeys(processes.ROLES, 0.0), 0
    for _ in range(scale.runs):
        for target in stage.targets:
            before = processes.roles_cpu_s(pid)
            figures = found.saturation.setdefault(target.name, Figures())
            report = _costed(
                target,
                figures,
                partial(saturate, target.url, stage.secret, scale.seconds, scale.connections, stage.work_dir),
            )
            if target.name == "gateway":
                worker_s = processes.roles_cpu_s(pid)[processes.WORKER]
                stage.settled()  # the drain's and the stores' work for these calls ends here, so it is counted up to here
                after = processes.roles_cpu_s(pid) | {processes.WORKER: worker_s}
                roles_s = {role: roles_s[role] + after[role] - before[role] for role in roles_s}
                answers += report.answers
    found.roles_cpu_us = {role: spent / answers * 1e6 for role, spent in roles_s.items()}


def _burst(stage: Stage, scale: Scale, found: Measured) -> None:
    """Streams whose events come as fast as they go: the cost of an event where the core is busy."""
    stream = Stream(scale.burst_events, 0)
    for _ in range(scale.runs):
        for target in stage.targets:
            order = Order(
                base_urls=[target.stream_url],
                secret=stage.secret,
                seconds=scale.burst_s,
                connections=scale.burst_streams,
                stream=stream,
            )
            _costed(
                target,
                found.burst.setdefault(target.name, Figures()),
                partial(carry_out, order),
                stream.events,
            )
        stage.settled()


def _paced(stage: Stage, scale: Scale, found: Measured) -> None:
    """Many streams at the pace of a model: every event is a read and a write of its own. One round: it is long."""
    for target in stage.targets:
        order = Order(
            base_urls=[target.stream_url],
            secret=stage.secret,
            seconds=0,
            connections=scale.paced_streams,
            stream=scale.paced,
        )
        figures = found.paced.setdefault(target.name, Figures())
        with _peak_rss(target, figures):
            _costed(target, figures, partial(carry_out, order), scale.paced.events)
    stage.settled()


def _costed(target: Target, figures: Figures, load: Callable[[], Report], events: int = 1) -> Report:
    """One round; `events` per answer."""
    before = processes.cpu_s(target.pids)
    report = load()
    figures.add(report.answers * events, processes.cpu_s(target.pids) - before, report.seconds)
    figures.answers += report.answers
    return report


@contextmanager
def _peak_rss(target: Target, figures: Figures) -> Iterator[None]:
    """The largest resident memory while it lasts."""
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(_RSS_POLL_S):
            figures.peak_rss_bytes = max(figures.peak_rss_bytes, processes.rss_bytes(target.pids))

    watching = threading.Thread(target=watch)
    watching.start()
    try:
        yield
    finally:
        ended.set()
        watching.join()
