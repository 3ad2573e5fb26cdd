"""Child processes that never outlive us, the locks that tell who is still there, and this room's error tree.

    SandboxError               whatever keeps a sandbox from running; the message says what to do next
    ├── SandboxUnavailable     a program is not installed, or a directory cannot be used
    ├── SandboxInUse           another process has this data directory
    ├── SandboxStartFailed     a server ended instead of answering; its log is named
    └── SandboxTimeout         a bounded wait ran out

A child runs in a session of its own, so the terminal's Ctrl-C reaches us first and we stop it in order; if we die,
by kill -9 too, the kernel sends it its death signal (see launch.py: spawn from a thread that outlives the child).
It gets a small environment, never ours. All times are seconds and bounded; waiting is polling of a fact, each 10 ms.
"""

import asyncio
import contextlib
import fcntl
import importlib.util
import os
import pwd
import signal
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from gateway.sandbox.launch import KEEP_ID, launcher_argv

POLL_S = 0.01
KILL_WAIT_S = 10.0
LOG_MAX_BYTES = 8 * 1024 * 1024
STDIN_MAX_BYTES = 4096  # a pipe takes this much at once, so writing it never waits for the reader
_LOG_TAIL_BYTES = 2000
_LOG_TAIL_LINES = 4
_NOBODY_ID = 65534
_ENVIRONMENT = {"PATH": "/usr/local/bin:/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC"}


class SandboxError(Exception):
    """Whatever keeps a sandbox from running."""


class SandboxUnavailable(SandboxError):
    """A program is not installed, or a directory cannot be used."""


class SandboxInUse(SandboxError):
    """Another process has this data directory."""


class SandboxStartFailed(SandboxError):
    """A server ended instead of answering."""


class SandboxTimeout(SandboxError):
    """A bounded wait ran out."""


@dataclass(frozen=True, slots=True)
class RunAs:
    """The user a child becomes."""

    uid: int
    gid: int


def other_user_for(directory: Path) -> RunAs | None:
    """Root becomes the owner of `directory`, or `nobody` if that is root or nothing is there; others stay: None."""
    if os.geteuid() != 0:
        return None
    if directory.exists() and (info := directory.stat()).st_uid != 0:
        return RunAs(info.st_uid, info.st_gid)
    try:
        nobody = pwd.getpwnam("nobody")
    except KeyError:
        return RunAs(_NOBODY_ID, _NOBODY_ID)
    return RunAs(nobody.pw_uid, nobody.pw_gid)


def give_to(directory: Path, user: RunAs | None) -> None:
    """Makes `user` the owner of the tree, the top last, so that a top it owns means a tree it owns.

    Raises SandboxUnavailable where even root may not (a container with one user only).
    """
    if user is None or directory.stat().st_uid == user.uid:
        return
    try:
        for folder, _, files in os.walk(directory, topdown=False):
            for file in files:
                os.chown(os.path.join(folder, file), user.uid, user.gid, follow_symlinks=False)
            os.chown(folder, user.uid, user.gid, follow_symlinks=False)
    except OSError as refused:
        text = f"servers must not run as root, and this root may not give {directory} to uid {user.uid} ({refused}). "
        raise SandboxUnavailable(text + "Next: run as an ordinary user") from refused


def package_directory(package: str, distribution: str) -> Path:
    """Where a package lies, found without running any of its code."""
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise SandboxUnavailable(f"{distribution} is not installed. Next: pip install {distribution}")
    return Path(spec.submodule_search_locations[0]).resolve()


def log_tail(log_path: Path) -> str:
    """The last lines of a log, for the end of an error message."""
    if not log_path.exists():
        return "(no log yet)"
    with log_path.open("rb") as log:
        log.seek(-min(_LOG_TAIL_BYTES, log_path.stat().st_size), os.SEEK_END)
        lines = log.read().decode(errors="replace").splitlines()
    return "\n  ".join(["", *lines[-_LOG_TAIL_LINES:]]).rstrip() or "(empty)"


class FileLock:
    """A lock that dies with those who hold it: kept by this process, or by every process that inherited its descriptor.

    A fork of this process that does not exec holds it too.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._fd: int | None = None

    @property
    def fd(self) -> int:
        """The descriptor to hand on. Raises SandboxError if the lock is not held."""
        if self._fd is None:
            raise SandboxError(f"the lock {self._path} is not held. Next: take it first")
        return self._fd

    @property
    def held(self) -> bool:
        """Whether this object holds it."""
        return self._fd is not None

    def take(self) -> bool:
        """Takes it if it is free; says whether it is ours."""
        if self._fd is not None:
            return True
        fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(fd)
            return False
        self._fd = fd
        return True

    def let_go(self) -> None:
        """Closes our descriptor. Who inherited it goes on holding the lock, so this is no LOCK_UN."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def sign(self) -> None:
        """Leaves our pid in the file, for the message to whoever finds it taken."""
        os.ftruncate(self.fd, 0)
        os.pwrite(self.fd, f"{os.getpid()}\n".encode(), 0)

    def signature(self) -> str:
        """The pid its holder left."""
        return self._path.read_text(errors="replace").strip() or "unknown"


class Child:
    """One running program."""

    def __init__(self, name: str, process: subprocess.Popen[bytes], log_path: Path) -> None:
        self.name = name
        self.log_path = log_path
        self._process = process

    @classmethod
    def spawn(
        cls,
        command: Sequence[str],
        *,
        name: str,
        log_path: Path,
        death_signal: signal.Signals = signal.SIGKILL,
        user: RunAs | None = None,
        stdin: bytes = b"",
        cwd: Path = Path("/"),
        inherit: FileLock | None = None,
    ) -> Self:
        """Starts `command` (absolute path first). Its output goes to `log_path`; it sees `stdin`, then the end of file.

        Returns before the program runs: that it could not be started shows as its exit and in the log.
        Raises SandboxStartFailed if there is no process at all.
        """
        if len(stdin) > STDIN_MAX_BYTES:
            raise SandboxError(
                f"{name}: {len(stdin)} bytes of input, {STDIN_MAX_BYTES} allowed. Next: write them to a file"
            )
        uid, gid = (KEEP_ID, KEEP_ID) if user is None else (user.uid, user.gid)
        log_path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if log_path.exists() and log_path.stat().st_size > LOG_MAX_BYTES:
            log_path.replace(log_path.with_suffix(".log.1"))
        try:
            with log_path.open("ab") as log:
                process = subprocess.Popen(  # noqa: S603  the command is ours
                    launcher_argv(command, death_signal=death_signal, uid=uid, gid=gid),
                    stdin=subprocess.PIPE,
                    stdout=log,
                    stderr=log,
                    cwd=cwd,
                    env=_ENVIRONMENT,
                    start_new_session=True,
                    pass_fds=() if inherit is None else (inherit.fd,),
                )
        except OSError as refused:
            raise SandboxStartFailed(f"{name} could not be started: {refused}. Next: see {log_path}") from refused
        if process.stdin is not None:
            with (
                contextlib.suppress(BrokenPipeError),
                process.stdin as pipe,
            ):  # it has ended: the caller will see its exit
                pipe.write(stdin)
        return cls(name, process, log_path)

    @property
    def pid(self) -> int:
        """The process id, which is also that of its session and process group."""
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether it has not ended yet."""
        return self._process.poll() is None

    async def wait(self, timeout_s: float) -> int:
        """Its exit code, or minus the signal that ended it. Raises SandboxTimeout."""
        deadline_s = time.monotonic() + timeout_s
        while (code := self._process.poll()) is None:
            if time.monotonic() > deadline_s:
                text = f"{self.name} (pid {self.pid}) still runs after {timeout_s:g} s. Next: see {self.log_path}"
                raise SandboxTimeout(text)
            await asyncio.sleep(POLL_S)
        return code

    async def stop(self, polite: signal.Signals, grace_s: float) -> int:
        """Asks it to end, insists after `grace_s`; its exit code. Raises SandboxTimeout if not even SIGKILL helps."""
        if self.running:
            self._process.send_signal(polite)
        try:
            return await self.wait(grace_s)
        except SandboxTimeout:
            self.kill_now()
            return await self.wait(KILL_WAIT_S)

    def kill_now(self) -> None:
        """SIGKILL, without waiting. Nothing happens if it has ended."""
        self._process.kill()
