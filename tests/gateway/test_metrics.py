"""What calls add up to, kept as plain numbers and written out."""

from __future__ import annotations

from prometheus_client import REGISTRY

from gateway.metrics import CallCounts


def estimated(reason: str) -> float:
    return REGISTRY.get_sample_value("solar_estimated_calls_total", {"reason": reason}) or 0.0


def test_a_clients_hang_up_and_upstreams_own_break_are_counted_apart() -> None:
    before = [estimated(reason) for reason in ("client hung up", "upstream broke off")]
    counts = CallCounts()
    for reason in ("client hung up", "upstream broke off", None, "client hung up"):
        counts.settled(1, 0, 1, 1, estimated=reason)
    counts.flush()
    counts.flush()
    after = [estimated(reason) for reason in ("client hung up", "upstream broke off")]
    assert [now - then for now, then in zip(after, before, strict=True)] == [2, 1]
