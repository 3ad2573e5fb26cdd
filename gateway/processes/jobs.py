"""The background jobs as a process of their own: the drain, the sweep, the budget alerts, and those that speak with Stripe.
`solar-gateway work`, or a child of `serve`.

Says `ready` on stdout once it works. On SIGTERM it drains what is there, and exits 0.
"""

from __future__ import annotations

import asyncio
import signal

import uvloop

from gateway.app import open_alerts, open_drain, open_house
from gateway.logs import set_up_logs
from gateway.processes.collection import collect
from gateway.processes.lifeline import end_with_parent
from gateway.processes.server import announce_ready
from gateway.settings import Settings, read_settings


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
