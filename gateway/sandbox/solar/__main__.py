"""`python -m gateway.sandbox.solar --port 0`: the simulated Solar as a process of its own.

Prints one line `{"port": N}` when it listens, and nothing else; exits 0 on SIGTERM or SIGINT, giving open streams one second,
and with its parent (lifeline.py). A port that is taken is one line on stderr and exit 2.
"""

import contextlib
import json
import logging
import signal
import socket
import sys
from collections.abc import Iterator
from typing import Annotated

import typer
import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from gateway.processes.lifeline import end_with_parent
from gateway.sandbox.solar.keys import Keys
from gateway.sandbox.solar.limits import WINDOW_S, Window
from gateway.sandbox.solar.server import Simulator
from gateway.sandbox.solar.truth import RECORDS_MAX, Truth

GRACE_S = 1
KEEP_ALIVE_S = 75
BACKLOG = 4096


class AbortableProtocol(HttpToolsProtocol):
    """uvicorn's protocol that lets the application close a connection without an answer."""

    def on_message_begin(self) -> None:
        """Adds the way out to the request's scope."""
        super().on_message_begin()
        self.scope["extensions"] = {"sandbox.abort": self.transport.abort}  # type: ignore[dict-item]  # a callable of ours


class QuietServer(uvicorn.Server):
    """A uvicorn server that exits 0 on SIGTERM: uvicorn's own handling raises the signal again at the end."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leaves the signals to us."""
        with contextlib.ExitStack() as restored:
            for number in (signal.SIGTERM, signal.SIGINT):
                previous = signal.signal(number, self.handle_exit)
                restored.callback(signal.signal, number, previous)
            yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Says where it listens, once it does and a SIGTERM is already ours."""
        await super().startup(sockets)
        for listener in sockets or ():
            sys.stdout.write(json.dumps({"port": listener.getsockname()[1]}) + "\n")
        sys.stdout.flush()


def _is_news(record: logging.LogRecord) -> bool:
    """Cutting an answer short is what we do on purpose; every other error of uvicorn's goes to stderr."""
    return not record.getMessage().startswith("ASGI callable returned without")


def _names(text: str) -> frozenset[str]:
    return frozenset(name for name in text.split(",") if name)


def _quotas(text: str) -> dict[str, int]:
    pairs = (part.partition("=") for part in text.split(",") if part)
    return {key: int(number) for key, _, number in pairs}


def run(
    host: Annotated[str, typer.Option(help="address to listen on")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65_535, help="0: any free port")] = 0,
    keys: Annotated[str, typer.Option(help="accepted keys, comma separated")] = "up_sandbox",
    blocked_keys: Annotated[str, typer.Option(help="401 api_key_is_blocked")] = "up_blocked",
    nocredit_keys: Annotated[str, typer.Option(help="403 api_key_is_not_allowed")] = "up_nocredit",
    retired: Annotated[str, typer.Option(help="models to refuse as retired, comma separated")] = "",
    requests_per_minute: Annotated[int, typer.Option(min=0, max=1_000_000, help="per key and model; 0: no limit")] = 0,
    quotas: Annotated[str, typer.Option(help="such limits of keys of their own: KEY=N, comma separated")] = "",
    window_s: Annotated[
        int, typer.Option(min=1, max=3600, help="how long that minute is, for tests in a hurry")
    ] = WINDOW_S,
    records_max: Annotated[int, typer.Option(min=1, max=10_000_000, help="records kept as ground truth")] = RECORDS_MAX,
) -> None:
    """Serves the simulated Solar until SIGTERM."""
    end_with_parent()
    try:
        listener = socket.create_server((host, port), backlog=BACKLOG)
    except OSError as refused:
        sys.stderr.write(f"simulated Solar: cannot listen on {host}:{port}: {refused}\n")
        sys.exit(2)
    accepted = Keys(_names(keys), _names(blocked_keys), _names(nocredit_keys))
    window = Window(requests_per_minute, by_key=_quotas(quotas), window_s=window_s)
    simulator = Simulator(accepted, Truth(records_max), window, _names(retired))
    config = uvicorn.Config(
        simulator,
        http=AbortableProtocol,
        loop="uvloop",
        lifespan="off",
        ws="none",
        access_log=False,
        log_config=None,
        log_level="error",
        server_header=False,
        proxy_headers=False,
        date_header=True,
        backlog=BACKLOG,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=GRACE_S,
    )
    logging.getLogger("uvicorn.error").addFilter(_is_news)
    QuietServer(config).run(sockets=[listener])


if __name__ == "__main__":
    typer.run(run)
