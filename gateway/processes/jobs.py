"""The background jobs as a process of their own: the drain, the sweep, the budget alerts, and those that speak with Stripe.
`solar-gateway work`, or a child of `serve`.

Says `ready` on stdout once it works. On SIGTERM it drains what is there, and exits 0.
"""

from __future__ import annotations

import asyncio
import signal

import uvloop

from gateway.alerts.job import AlertJob
from gateway.alerts.webhook import WebhookSender
from gateway.app import House, open_house
from gateway.drain import Drain, DrainBounds
from gateway.logs import set_up_logs
from gateway.processes.collection import collect
from gateway.processes.lifeline import end_with_parent
from gateway.processes.server import announce_ready
from gateway.settings import Settings, read_settings


def open_alerts(house: House) -> AlertJob:
    """The background job that tells who pays that a budget runs out."""
    settings = house.settings
    sender = WebhookSender(
        timeout_s=settings.alert_timeout_s,
        attempts=settings.alert_attempts_at_once,
        private_allowed=settings.alert_private_addresses == "allow",
    )
    return AlertJob(
        house.sessions,
        house.clock,
        sender,
        every_s=settings.alert_check_s,
        attempts_max=settings.alert_attempts_max,
    )


def open_drain(house: House) -> Drain:
    """The background job that moves usage records into the ledger."""
    settings = house.settings
    bounds = DrainBounds(
        shards=settings.shards,
        batch_max=settings.drain_batch_max,
        idle_ms=settings.drain_idle_ms,
        swept_memory_s=settings.swept_memory_s,
        settled_memory_s=settings.settled_memory_s,
        stop_s=settings.drain_stop_s,
        unreadable_max=settings.unreadable_max,
    )
    return Drain(house.redis, house.ticker, house.sessions, house.clock, bounds)


async def work(settings: Settings) -> None:
    """Work until told to stop."""
    async with open_house(settings) as house:
        stopping = asyncio.Event()
        loop = asyncio.get_running_loop()
        for name in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(name, stopping.set)
        announce_ready()
        await asyncio.gather(
            open_drain(house).run(stopping), open_alerts(house).run(stopping), collect(house, stopping)
        )


def main() -> None:
    end_with_parent()
    set_up_logs("jobs")
    uvloop.run(work(read_settings()))


if __name__ == "__main__":
    main()
