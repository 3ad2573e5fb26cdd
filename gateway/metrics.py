"""Every series that this gateway exports, with its unit in its name. Labels are bounded and bound once, not looked up per call.

Dashboards, alerts and the autoscaler of deploy/ are tested against this list. A call's seconds are told apart so:

    head read ── body read ──────── request sent ─────── answer whole ── settled ── last byte left
                 └ solar_added_seconds ┘└ solar_upstream_seconds ┘└ solar_added_seconds ┘
    └────────────────────────────────── solar_call_seconds ─────────────────────────────────┘

With several processes the values lie in files under `PROMETHEUS_MULTIPROC_DIR` (set by the supervisor before this module is read)
and are added up where they are exported.
"""

from __future__ import annotations

import asyncio
import bisect
from collections.abc import Callable, Sequence

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

OUTCOMES = ("whole", "streamed", "refused", "upstream_refused", "interrupted", "client_gone", "failed", "replayed")

CALLS = Counter("solar_calls_total", "Calls of metered endpoints, by how they ended", ["outcome"])
TOKENS = Counter("solar_tokens_total", "Tokens settled, by kind (input leaves cached ones out)", ["kind"])
COST_NANO_USD = Counter("solar_cost_nano_usd_total", "Exact cost settled, in nano-USD, after discount and grants")
ABSORBED_CALLS = Counter(
    "solar_absorbed_calls_total", "Calls of which upstream served more than their caps had room for"
)
ABSORBED_NANO_USD = Counter(
    "solar_absorbed_nano_usd_total", "What those parts would have cost the caller, in nano-USD: ours"
)
ESTIMATED_CALLS = Counter("solar_estimated_calls_total", "Calls whose count is an estimate, by why", ["reason"])
_BOUNDS = (0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 30.0, 120.0, 600.0)
CALL_SECONDS = Histogram(
    "solar_call_seconds", "From the first byte of the request to the last of the answer", buckets=_BOUNDS
)
FIRST_EVENT_SECONDS = Histogram(
    "solar_first_event_seconds", "Streams: from the head of the request to the first event", buckets=_BOUNDS
)
UPSTREAM_SECONDS = Histogram(
    "solar_upstream_seconds", "From handing a request to upstream to the end of its answer", buckets=_BOUNDS
)
_ADDED_BOUNDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1.0, 5.0)
ADDED_SECONDS = Histogram(
    "solar_added_seconds",
    "What we add: from a read request to upstream, and from its end to ours",
    buckets=_ADDED_BOUNDS,
)
CALLS_IN_FLIGHT = Gauge("solar_calls_in_flight", "Calls under way now", multiprocess_mode="livesum")
OPEN_HOLDS = Gauge("solar_open_holds", "Holds of calls under way now", multiprocess_mode="livesum")
HELD_NANO_USD = Gauge(
    "solar_held_nano_usd",
    "Money that admission set aside for calls under way, in nano-USD",
    multiprocess_mode="livesum",
)
REFUSALS = Counter("solar_refusals_total", "Calls refused or broken off, by the code that the caller saw", ["code"])
_CODES_MAX = 64
IDEMPOTENT_CALLS = Counter(
    "solar_idempotent_calls_total", "Calls with an Idempotency-Key, by what was found under it", ["found"]
)
UPSTREAM_ALERTS = Counter("solar_upstream_alerts_total", "Answers that mean one of our upstream keys needs a human")
UPSTREAM_KEY_WELL = Gauge(
    "solar_upstream_key_well",
    "1 while an upstream key (by its public name) takes calls; 0 where any worker has it out",
    ["key"],
    multiprocess_mode="livemin",
)
UPSTREAM_ATTEMPTS = Counter(
    "solar_upstream_attempts_total", "Attempts with an upstream key, by what became of them", ["key", "result"]
)
UPSTREAM_WAITING_CALLS = Gauge(
    "solar_upstream_waiting_calls", "Calls that wait for upstream's quota now", multiprocess_mode="livesum"
)
UPSTREAM_WAITED_CALLS = Counter("solar_upstream_waited_calls_total", "Calls that waited for upstream's quota")
UPSTREAM_QUOTA_REFUSALS = Counter(
    "solar_upstream_quota_refusals_total", "Calls that were told to come again, because upstream's quota was used up"
)
LOST_ATTEMPTS = Counter(
    "solar_upstream_lost_attempts_total", "Attempts that brought no answer, and that upstream may bill all the same"
)
PENDING_NANO_USD = Counter(
    "solar_upstream_pending_nano_usd_total",
    "What those will likely cost us, in nano-USD, until upstream's bill decides",
)
UNKNOWN_SNAPSHOTS = Counter("solar_unknown_snapshots_total", "Answers by a model snapshot that no rate card names")
DRAINED_RECORDS = Counter("solar_drained_records_total", "Usage records written to the ledger")
DRAIN_FAULTS = Counter("solar_drain_faults_total", "Drain rounds that failed and will be repeated")
DRAIN_LAG_RECORDS = Gauge(
    "solar_drain_lag_records", "Usage records not yet in the ledger", multiprocess_mode="mostrecent"
)
UNREADABLE_RECORDS = Counter(
    "solar_unreadable_records_total", "Usage records that could not be read or stored, and were set aside"
)
UNREADABLE_WAITING_RECORDS = Gauge(
    "solar_unreadable_waiting_records", "Such records that wait for an operator", multiprocess_mode="mostrecent"
)
LATE_RECORDS = Counter(
    "solar_late_records_total", "Usage records refused because their month is detached from the ledger; they are kept"
)
SWEPT_HOLDS = Counter("solar_swept_holds_total", "Holds whose worker was gone, booked as estimated")
JOURNAL_BYTES = Gauge(
    "solar_journal_bytes", "Settlements on the local disk that Redis has not taken yet", multiprocess_mode="livesum"
)
JOURNAL_RECORDS = Gauge(
    "solar_journal_records", "Settlements on the local disk that Redis has not taken yet", multiprocess_mode="livesum"
)
OWED_RECORDS = Gauge(
    "solar_owed_records", "Settlements that neither Redis nor the local disk has taken yet", multiprocess_mode="livesum"
)
REPLAYED_RECORDS = Counter("solar_replayed_records_total", "Settlements that went from the local disk to Redis")
MONEY_AT_RISK_USD = Gauge(
    "gateway_money_at_risk_usd",
    "Money at risk now: settlements that only the local disk has, and calls let through while Redis is away",
    multiprocess_mode="livesum",
)
HISTORIES = Counter("solar_redis_histories_total", "Times a worker met a Redis that may have forgotten something")
RETOLD_RECORDS = Counter("solar_retold_records_total", "Settlements told again to a Redis that may have forgotten them")
JOURNAL_FAULTS = Counter("solar_journal_faults_total", "Writes that the local disk refused, and torn ends found")
STRIPE_TASKS = Counter(
    "solar_stripe_tasks_total",
    "Attempts to send a thing to Stripe, by how they ended and what it was",
    ["ended", "kind"],
)
STRIPE_EVENTS = Counter(
    "solar_stripe_events_total", "Deliveries from Stripe: accepted, repeated, and refused by why", ["found"]
)
RECONCILIATIONS = Counter(
    "solar_reconciliations_total",
    "Comparisons of a month's ledger with upstream's usage export, by whether they agree",
    ["agrees"],
)


def count_absorbed(nano_usd: int) -> None:
    """A call of which upstream served more than its caps had room for."""
    ABSORBED_CALLS.inc()
    ABSORBED_NANO_USD.inc(nano_usd)


class _Spread:
    """A histogram's observations, kept as plain numbers until they are written out."""

    __slots__ = ("_bounds", "_seen", "_series", "saw")

    def __init__(self, series: Histogram, bounds: Sequence[float]) -> None:
        self._series = series
        self._bounds = bounds
        self._seen: list[float] = []
        self.saw = self._seen.append

    def flush(self) -> None:
        seen, buckets = self._seen, [0] * (len(self._bounds) + 1)
        for seconds in seen:
            buckets[bisect.bisect_left(self._bounds, seconds)] += 1
        # A histogram takes one observation at a time; its own counters take many (prometheus-client 0.26).
        for bucket, count in zip(self._series._buckets, buckets, strict=True):
            if count:
                bucket.inc(count)
        self._series._sum.inc(sum(seen))
        seen.clear()


def _no_holds() -> tuple[int, int]:
    return 0, 0


class CallCounts:
    """What the calls of this process add up to, kept as plain numbers and written out a few times a second.

    A series in a file costs one to two microseconds a touch, and a call touches a dozen; a plain number costs nanoseconds.
    `holds` says (how many are open now, their nano-USD).
    """

    def __init__(self, holds: Callable[[], tuple[int, int]] = _no_holds, *, flush_s: float = 0.25) -> None:
        self._holds = holds
        self._flush_s = flush_s
        self._timer: asyncio.TimerHandle | None = None
        self.also: list[Callable[[], None]] = []
        """What else is written out then."""
        self._in_flight = 0
        self._codes: set[str] = set()
        self._whole = _Spread(CALL_SECONDS, _BOUNDS)
        self._first = _Spread(FIRST_EVENT_SECONDS, _BOUNDS)
        self._upstream = _Spread(UPSTREAM_SECONDS, _BOUNDS)
        self._added = _Spread(ADDED_SECONDS, _ADDED_BOUNDS)
        self._clear()

    def _clear(self) -> None:
        self._calls = dict.fromkeys(OUTCOMES, 0)
        self._refused: dict[str, int] = {}
        self._tokens = [0, 0, 0]
        self._cost_nano_usd = 0
        self._estimated: dict[str, int] = {}

    def began(self) -> None:
        """One call is under way."""
        self._in_flight += 1
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self._flush_s, self.flush)

    def ended(self, outcome: str, seconds: float, code: str | None = None) -> None:
        """A call that began has ended; `code` says why, where it was refused or broke off."""
        self._in_flight -= 1
        self._calls[outcome] += 1
        self._whole.saw(seconds)
        if code is not None:
            self._refused[code] = self._refused.get(code, 0) + 1
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self._flush_s, self.flush)

    def served(self, upstream_s: float, added_s: float, first_event_s: float | None) -> None:
        """Upstream answered a call, in so many seconds; so many more were ours."""
        self._upstream.saw(upstream_s)
        self._added.saw(added_s)
        if first_event_s is not None:
            self._first.saw(first_event_s)

    def settled(
        self,
        input_tokens: int,
        cached_input_tokens: int,
        output_tokens: int,
        cost_nano_usd: int,
        *,
        estimated: str | None,
    ) -> None:
        """One call was settled. `estimated`: why its count is an estimate, one of the few reasons that stand in the code."""
        tokens = self._tokens
        tokens[0] += input_tokens
        tokens[1] += cached_input_tokens
        tokens[2] += output_tokens
        self._cost_nano_usd += cost_nano_usd
        if estimated is not None:
            self._estimated[estimated] = self._estimated.get(estimated, 0) + 1

    def flush(self) -> None:
        """Write out what was counted."""
        self._timer = None
        for outcome, count in self._calls.items():
            if count:
                CALLS.labels(outcome).inc(count)
        for code, count in self._refused.items():
            REFUSALS.labels(self._bounded(code)).inc(count)
        for spread in (self._whole, self._first, self._upstream, self._added):
            spread.flush()
        for kind, count in zip(("input", "cached_input", "output"), self._tokens, strict=True):
            TOKENS.labels(kind).inc(count)
        COST_NANO_USD.inc(self._cost_nano_usd)
        for reason, count in self._estimated.items():
            ESTIMATED_CALLS.labels(reason).inc(count)
        CALLS_IN_FLIGHT.set(self._in_flight)
        open_holds, held_nano_usd = self._holds()
        OPEN_HOLDS.set(open_holds)
        HELD_NANO_USD.set(held_nano_usd)
        for flush in self.also:
            flush()
        self._clear()

    def _bounded(self, code: str) -> str:
        """The code as a label; beyond a bound all others are one, whatever upstream may think of."""
        if code not in self._codes:
            if len(self._codes) >= _CODES_MAX:
                return "other"
            self._codes.add(code)
        return code


def exposition(multiprocess_dir: str) -> bytes:
    """All processes' series in Prometheus's text format."""
    registry = CollectorRegistry()
    MultiProcessCollector(registry, path=multiprocess_dir)  # type: ignore[no-untyped-call]
    return generate_latest(registry)


def forget_process(pid: int, multiprocess_dir: str) -> None:
    """Drop the live gauges of a process that ended."""
    mark_process_dead(pid, multiprocess_dir)  # type: ignore[no-untyped-call]
