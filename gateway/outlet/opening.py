"""The part of the composition root that faces upstream: our keys, the transport, and the rules of waiting and trying again."""

from __future__ import annotations

import httpx

from gateway.fleet.breaker import BreakerRules
from gateway.fleet.fleet import Fleet
from gateway.fleet.turns import QueueRules
from gateway.settings import Settings
from gateway.upstream.line import Patience
from gateway.upstream.retry import RetryRules
from gateway.upstream.solar import Solar
from gateway.upstream.transport import PooledTransport


def open_solar(settings: Settings) -> Solar:
    """Upstream, as the settings name it."""
    breaker = BreakerRules(
        failures_max=settings.upstream_failures_max,
        pause_s=settings.upstream_pause_s,
        pause_max_s=settings.upstream_pause_max_s,
        refused_pause_s=settings.upstream_refused_pause_s,
        refused_pause_max_s=settings.upstream_refused_pause_max_s,
    )
    queue = QueueRules(
        wait_max_s=settings.upstream_wait_s,
        waiting_max=settings.upstream_queue_max,
        account_max=settings.upstream_queue_account_max,
        weights=settings.upstream_queue_weights,
    )
    return Solar(
        _pooled(settings) if settings.upstream_transport == "pooled" else _stock(settings),
        Fleet(settings.upstream_roster(), breaker, queue),
        Patience(settings.connect_timeout_s, settings.first_byte_timeout_s, settings.idle_timeout_s),
        RetryRules(settings.upstream_attempts_max, settings.upstream_resend_lost),
    )


def _pooled(settings: Settings) -> httpx.AsyncBaseTransport:
    return PooledTransport(
        connections_max=settings.upstream_connections_max,
        waiting_max=settings.upstream_waiting_max,
        idle_expiry_s=settings.upstream_idle_expiry_s,
    )


def _stock(settings: Settings) -> httpx.AsyncBaseTransport:
    """httpx's own: slower, and a second opinion."""
    limits = httpx.Limits(
        max_connections=settings.upstream_connections_max,
        max_keepalive_connections=settings.upstream_connections_max,
        keepalive_expiry=settings.upstream_idle_expiry_s,
    )
    return httpx.AsyncHTTPTransport(limits=limits, retries=0, trust_env=False)
