"""What calls add up to, kept as plain numbers and written out."""

from __future__ import annotations

import asyncio

from prometheus_client import REGISTRY

from gateway.metrics import CallCounts
from tests.waiting import wait_until


def estimated(reason: str) -> float:
    return REGISTRY.get_sample_value("solar_estimated_calls_total", {"reason": reason}) or 0.0


def value(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, labels) or 0.0


def test_a_clients_hang_up_and_upstreams_own_break_are_counted_apart() -> None:
    before = [estimated(reason) for reason in ("client hung up", "upstream broke off")]
    counts = CallCounts()
    for reason in ("client hung up", "upstream broke off", None, "client hung up"):
        counts.settled(1, 0, 1, 1, estimated=reason)
    counts.flush()
    counts.flush()
    after = [estimated(reason) for reason in ("client hung up", "upstream broke off")]
    assert [now - then for now, then in zip(after, before, strict=True)] == [2, 1]


async def test_calls_in_flight_and_their_holds_are_told_while_they_run_and_gone_after() -> None:
    counts = CallCounts(lambda: (2, 5_000_000), flush_s=0.01)
    counts.began()
    counts.began()
    await asyncio.to_thread(wait_until, lambda: value("solar_calls_in_flight") == 2, 5, "two calls are told")
    assert value("solar_open_holds") == 2
    assert value("solar_held_nano_usd") == 5_000_000
    counts.ended("whole", 0.3)
    counts.ended("refused", 0.001, "budget_exceeded")
    await asyncio.to_thread(wait_until, lambda: value("solar_calls_in_flight") == 0, 5, "none is left")


async def test_refusals_are_told_by_code_and_codes_without_number_are_one() -> None:
    counts = CallCounts()
    before = value("solar_refusals_total", code="other")
    for number in range(200):
        counts.ended("refused", 0.001, f"made_up_{number}")
    counts.flush()
    told = [number for number in range(200) if value("solar_refusals_total", code=f"made_up_{number}")]
    assert len(told) == 64
    assert value("solar_refusals_total", code="other") - before == 200 - 64


def test_seconds_are_told_apart_between_upstream_and_us() -> None:
    names = ("solar_upstream_seconds", "solar_added_seconds", "solar_first_event_seconds")
    before = [(value(f"{name}_sum"), value(f"{name}_count")) for name in names]
    counts = CallCounts()
    counts.served(2.0, 0.004, 0.5)
    counts.served(1.0, 0.002, None)
    counts.flush()
    after = [(value(f"{name}_sum"), value(f"{name}_count")) for name in names]
    moved = [(round(b[0] - a[0], 6), b[1] - a[1]) for a, b in zip(before, after, strict=True)]
    assert moved == [(3.0, 2), (0.006, 2), (0.5, 1)]
