"""Every series that this gateway exports, with its unit in its name. Labels are bounded and bound once, not looked up per call.

With several processes the values lie in files under `PROMETHEUS_MULTIPROC_DIR` (set by the supervisor before this module is read)
and are added up where they are exported.
"""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

OUTCOMES = ("whole", "streamed", "refused", "upstream_refused", "interrupted", "client_gone", "failed")

CALLS = Counter("solar_calls_total", "Calls of metered endpoints, by how they ended", ["outcome"])
TOKENS = Counter("solar_tokens_total", "Tokens settled, by kind (input leaves cached ones out)", ["kind"])
COST_NANO_USD = Counter("solar_cost_nano_usd_total", "Exact cost settled, in nano-USD, after discount and grants")
ESTIMATED_CALLS = Counter("solar_estimated_calls_total", "Calls whose count is an estimate")
CALL_SECONDS = Histogram(
    "solar_call_seconds",
    "From the first byte of the request to the last of the answer",
    buckets=(0.01, 0.05, 0.1, 0.5, 1, 5, 30, 120, 600),
)
UPSTREAM_ALERTS = Counter("solar_upstream_alerts_total", "Answers that mean one of our upstream keys needs a human")
UNKNOWN_SNAPSHOTS = Counter("solar_unknown_snapshots_total", "Answers by a model snapshot that no rate card names")
DRAINED_RECORDS = Counter("solar_drained_records_total", "Usage records written to the ledger")
DRAIN_FAULTS = Counter("solar_drain_faults_total", "Drain rounds that failed and will be repeated")
DRAIN_LAG_RECORDS = Gauge(
    "solar_drain_lag_records", "Usage records not yet in the ledger", multiprocess_mode="mostrecent"
)
SWEPT_HOLDS = Counter("solar_swept_holds_total", "Holds whose worker was gone, booked as estimated")

_calls = {outcome: CALLS.labels(outcome) for outcome in OUTCOMES}
_tokens = {kind: TOKENS.labels(kind) for kind in ("input", "cached_input", "output")}


def count_call(outcome: str, seconds: float) -> None:
    """One call ended."""
    _calls[outcome].inc()
    CALL_SECONDS.observe(seconds)


def count_settled(
    input_tokens: int, cached_input_tokens: int, output_tokens: int, cost_nano_usd: int, *, estimated: bool
) -> None:
    """One call was settled."""
    _tokens["input"].inc(input_tokens)
    _tokens["cached_input"].inc(cached_input_tokens)
    _tokens["output"].inc(output_tokens)
    COST_NANO_USD.inc(cost_nano_usd)
    if estimated:
        ESTIMATED_CALLS.inc()


def exposition(multiprocess_dir: str) -> bytes:
    """All processes' series in Prometheus's text format."""
    registry = CollectorRegistry()
    MultiProcessCollector(registry, path=multiprocess_dir)  # type: ignore[no-untyped-call]
    return generate_latest(registry)


def forget_process(pid: int) -> None:
    """Drop the live gauges of a process that ended."""
    mark_process_dead(pid)  # type: ignore[no-untyped-call]
