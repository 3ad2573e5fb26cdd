"""What the sandbox's Postgres and Valkey have in common: a port, a password, two locks, start, stop, kill, start again.

Two locks per server, both kernel locks that die with their holders, so no pid is ever guessed at:
`NAME.owner.lock` is held by us from start() to stop(): whoever else wants the directory is refused at once.
`NAME.server.lock` is inherited by the server and all its children: a start after kill -9 waits for the last of them.

Ports are taken from 20000..29999, below what Linux hands to outgoing connections (32768..60999, tcp(7)): a client that
keeps dialling a stopped server there could otherwise be connected to itself and keep the port from it.

Raises the errors drawn in processes.py, and only those. Times are seconds.
"""

import asyncio
import contextlib
import os
import secrets
import signal
import socket
import time
from abc import ABC, abstractmethod
from pathlib import Path
from typing import ClassVar

from gateway.sandbox.processes import (
    KILL_WAIT_S,
    POLL_S,
    Child,
    FileLock,
    RunAs,
    SandboxError,
    SandboxInUse,
    SandboxStartFailed,
    SandboxTimeout,
    SandboxUnavailable,
    log_tail,
    other_user_for,
)

HOST = "127.0.0.1"
PORT_FIRST = 20000
PORT_COUNT = 10000
PORT_TRIES = 64
RACE_TRIES = 5
START_TIMEOUT_S = 60.0
OLD_SERVER_TIMEOUT_S = 30.0
ANSWER_TIMEOUT_S = 10.0
STOP_GRACE_S = 20.0
_PASSWORD_BYTES = 24


def is_free(port: int) -> bool:
    """Whether a server could listen on this loopback port now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
        return True


def free_port() -> int:
    """A loopback port that was free a moment ago. Raises SandboxUnavailable."""
    for _ in range(PORT_TRIES):
        port = PORT_FIRST + secrets.randbelow(PORT_COUNT)
        if is_free(port):
            return port
    ports = f"{PORT_FIRST}..{PORT_FIRST + PORT_COUNT - 1}"
    raise SandboxUnavailable(f"{PORT_TRIES} ports of {HOST} tried among {ports}, none free. Next: see `ss -ltn`")


class Server(ABC):
    """One server of a sandbox, with its data in `data_dir/NAME`. Port and data stay the same over stop() and start().

    Start it from the main thread, or from one that outlives it: it ends with the thread that started it (launch.py).
    """

    name: ClassVar[str]
    polite_stop: ClassVar[signal.Signals]

    def __init__(self, data_dir: Path) -> None:
        self.data_dir = data_dir.resolve()
        self.home = self.data_dir / self.name
        self.log_path = self.data_dir / "logs" / f"{self.name}.log"
        self._password_path = self.data_dir / f"{self.name}.password"
        self._owner = FileLock(self.data_dir / f"{self.name}.owner.lock")
        self._server = FileLock(self.data_dir / f"{self.name}.server.lock")
        self._password = ""
        self._port: int | None = None
        self._child: Child | None = None

    @property
    def port(self) -> int:
        """Its port on 127.0.0.1. Raises SandboxError before the first start."""
        if self._port is None:
            raise SandboxError(f"{self.name} has no port yet. Next: await start()")
        return self._port

    @property
    def pid(self) -> int:
        """Its process id. Raises SandboxError if it does not run."""
        if self._child is None:
            raise SandboxError(f"{self.name} does not run. Next: await start()")
        return self._child.pid

    @property
    def running(self) -> bool:
        """Whether its process is there."""
        return self._child is not None and self._child.running

    @property
    @abstractmethod
    def url(self) -> str:
        """Where clients find it, password included."""

    async def start(self) -> None:
        """Returns once it answers. After a failure nothing is left running. Raises the SandboxError of its reason."""
        if self.running:
            raise SandboxError(f"{self.name} runs already (pid {self.pid}). Next: stop() it first")
        with contextlib.ExitStack() as undo:
            undo.callback(self._abandon)
            try:
                self._claim()
                await self._await_old_server()
                user = other_user_for(self.home)
                await self._prepare(user)
                await self._launch_on_a_port(user)
            except OSError as refused:
                text = f"{self.data_dir} cannot be used: {refused}. Next: choose a directory this user may write to"
                raise SandboxUnavailable(text) from refused
            undo.pop_all()
        self._server.let_go()  # from here on the server alone holds it

    async def stop(self) -> None:
        """Lets it finish its work and leave; SIGKILL after 20 s. Safe to repeat. Raises SandboxTimeout."""
        if self._child is not None:
            await self._child.stop(self.polite_stop, STOP_GRACE_S)
            self._child = None
        self._owner.let_go()

    async def kill(self) -> None:
        """SIGKILL, as a crash would; the directory stays ours. start() brings it back. Raises SandboxTimeout."""
        if self._child is not None:
            self._child.kill_now()
            await self._child.wait(KILL_WAIT_S)
            self._child = None

    @abstractmethod
    async def _prepare(self, user: RunAs | None) -> None:
        """Makes its directory ready; no other process of it lives meanwhile."""

    @abstractmethod
    def _spawn(self, port: int, user: RunAs | None) -> Child:
        """Starts its process, which inherits `self._server`."""

    @abstractmethod
    async def _answers(self, port: int) -> bool:
        """Whether it gave a real answer in its own protocol, to its own password."""

    def _abandon(self) -> None:
        """After a failed or cancelled start."""
        if self._child is not None:
            self._child.kill_now()
            self._child = None
        self._server.let_go()
        self._owner.let_go()

    def _claim(self) -> None:
        # 0711: to be passed through, not read, by the other user whom root runs a server as (see launch.py).
        self.data_dir.mkdir(mode=0o711 if os.geteuid() == 0 else 0o700, parents=True, exist_ok=True)
        if not self._owner.take():
            text = f"{self.data_dir} is in use by process {self._owner.signature()} ({self.name}). "
            raise SandboxInUse(text + "Next: stop that process, or choose another data directory")
        self._owner.sign()
        self._password = self._read_or_make_password()

    def _read_or_make_password(self) -> str:
        if self._password_path.exists():
            return self._password_path.read_text().strip()
        if self.home.exists():
            text = f"{self.home} has data, but its password file {self._password_path} is gone. "
            raise SandboxUnavailable(text + "Next: put the file back, or remove the directory to start anew")
        draft = self._password_path.with_suffix(".draft")
        draft.unlink(missing_ok=True)
        fd = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(fd, "w") as file:
            file.write(secrets.token_hex(_PASSWORD_BYTES) + "\n")
            file.flush()
            os.fsync(fd)
        draft.replace(self._password_path)
        return self._password_path.read_text().strip()

    async def _await_old_server(self) -> None:
        """After a kill -9 of its owner the old server is shutting down; its last process frees the lock."""
        deadline_s = time.monotonic() + OLD_SERVER_TIMEOUT_S
        while not self._server.take():
            if time.monotonic() > deadline_s:
                text = f"an earlier {self.name} of {self.data_dir} still runs after {OLD_SERVER_TIMEOUT_S:g} s. "
                raise SandboxTimeout(
                    text + f"Next: see {self.log_path}, and end what still holds {self.name}.server.lock"
                )
            await asyncio.sleep(POLL_S)

    async def _launch_on_a_port(self, user: RunAs | None) -> None:
        """Another program may take a port between our look and the server's: then another, unless clients know it."""
        for _ in range(RACE_TRIES):
            port = self._port or free_port()
            if self._port is not None and not is_free(port):
                text = f"port {port} of {self.name} was taken meanwhile. Next: end what listens on it (`ss -ltnp`)"
                raise SandboxStartFailed(f"{text}, see {self.log_path}")
            self._child = self._spawn(port, user)
            if await self._becomes_ready(self._child, port):
                self._port = port
                return
            code = await self._child.wait(KILL_WAIT_S)
            if is_free(port):
                text = (
                    f"{self.name} ended at its start (exit {code}). Next: see {self.log_path}{log_tail(self.log_path)}"
                )
                raise SandboxStartFailed(text)
        raise SandboxStartFailed(
            f"{self.name} lost {RACE_TRIES} ports in a row. Next: see {self.log_path} and `ss -ltn`"
        )

    async def _becomes_ready(self, child: Child, port: int) -> bool:
        """True once it answers, False if it ends first. Raises SandboxTimeout."""
        deadline_s = time.monotonic() + START_TIMEOUT_S
        while child.running:
            if await self._answers_once(child, port):
                return True
            if time.monotonic() > deadline_s:
                text = f"{self.name} gave no answer on port {port} in {START_TIMEOUT_S:g} s. Next: see {self.log_path}"
                raise SandboxTimeout(text + log_tail(self.log_path))
            await asyncio.sleep(POLL_S)
        return False

    async def _answers_once(self, child: Child, port: int) -> bool:
        """One question, given up when the child ends: whoever else holds its port may accept us and say nothing."""
        asking = asyncio.ensure_future(self._answers(port))
        try:
            async with asyncio.timeout(ANSWER_TIMEOUT_S):
                while child.running and not asking.done():
                    await asyncio.wait((asking,), timeout=POLL_S)
        except TimeoutError:
            return False
        finally:
            asking.cancel()
        return asking.done() and asking.result()
