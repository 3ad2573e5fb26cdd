"""One worker: serves calls from a listening socket that it was handed, until SIGTERM.

Run by the supervisor as `python -m gateway.processes.worker --fd N`; says `ready` on stdout once it serves. On SIGTERM it takes
no more calls, finishes the running ones within the grace time, and exits 0. On SIGUSR1 it serves on, and tells clients to close their
connections. Ends with its supervisor.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import uvicorn
import uvloop

from gateway.app import fast_door, http_app, open_house, open_journey
from gateway.doors.protocol import tell_leaving
from gateway.logs import set_up_logs
from gateway.processes.heap import settle_heap
from gateway.processes.lifeline import end_with_parent
from gateway.processes.server import LEAVING, Server, announce_ready
from gateway.settings import Settings, read_settings
from gateway.traces import Traces, open_traces


@asynccontextmanager
async def opened_traces(settings: Settings) -> AsyncIterator[Traces | None]:
    """Where spans come from, if they are asked for; what waits is sent at the end, off the loop, because that may take a while."""
    traces = open_traces(settings.traces_url, settings.traces_ratio)
    try:
        yield traces
    finally:
        if traces is not None:
            await asyncio.to_thread(traces.close)


async def serve(settings: Settings, fd: int) -> None:
    """Serve until told to stop."""
    async with open_house(settings) as house, opened_traces(settings) as traces:
        journey = open_journey(house, traces)
        door = fast_door(house, journey)
        config = uvicorn.Config(
            http_app(house, journey),
            loop="none",
            http=door,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            proxy_headers=False,  # which proxies are believed is a setting of ours (trusted_proxies)
            server_header=False,
            timeout_keep_alive=75,
            timeout_graceful_shutdown=int(settings.shutdown_grace_s),
        )
        server = Server(config, announce_ready, linger_s=settings.shutdown_linger_s, leaving=lambda: tell_leaving(door))
        settle_heap()
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(LEAVING, server.leave)
        for name in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(name, server.stop)
        stopping = asyncio.Event()
        standby = asyncio.ensure_future(house.standby.run(stopping))
        try:
            await server.serve(sockets=[socket.socket(fileno=fd)])
        finally:
            await house.admission.close(settings.settle_retry_s)
            stopping.set()
            await standby


def main() -> None:
    end_with_parent()
    parser = argparse.ArgumentParser(prog="python -m gateway.processes.worker")
    parser.add_argument("--fd", type=int, required=True)
    set_up_logs("worker")
    uvloop.run(serve(read_settings(), parser.parse_args().fd))


if __name__ == "__main__":
    main()
