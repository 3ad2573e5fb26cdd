"""What processes cost, from the operating system, and on which core they run. Linux.

Units: seconds of CPU (utime + stime of /proc/<pid>/stat, all threads), bytes of resident memory. Children that ended are counted
with their parent (cutime + cstime), so that a short-lived Postgres backend is not lost.
"""

from __future__ import annotations

import os
import subprocess
import timeit
from collections.abc import Iterable
from dataclasses import dataclass

import psutil

WORKER, JOBS, SUPERVISOR, VALKEY, POSTGRES = "worker", "jobs (drain)", "supervisor", "Valkey", "Postgres"
ROLES = (WORKER, JOBS, SUPERVISOR, VALKEY, POSTGRES)
_MARKS = {
    "gateway.processes.worker": WORKER,
    "gateway.processes.jobs": JOBS,
    "valkey-server": VALKEY,
    "postgres": POSTGRES,
}
_GONE_S = 10.0
_CALLS = 200_000


@dataclass(frozen=True, slots=True)
class Cores:
    """Which core the measured process has for itself, and what is left for all others."""

    measured: frozenset[int]
    others: frozenset[int]

    @classmethod
    def split(cls) -> Cores:
        """The last core for the measured process; with only one core, all share it."""
        have = sorted(os.sched_getaffinity(0))
        return cls(frozenset(have[-1:]), frozenset(have[:-1] or have))

    @property
    def apart(self) -> bool:
        return self.measured.isdisjoint(self.others)


def pin(pid: int, cores: Iterable[int]) -> None:
    """All threads of a process to these cores."""
    for thread in psutil.Process(pid).threads():
        os.sched_setaffinity(thread.id, cores)


def by_role(gateway_pid: int) -> dict[str, list[int]]:
    """The processes of a `serve --sandbox`, by what they do; Postgres stands here with its first process alone."""
    roles: dict[str, list[int]] = {role: [] for role in ROLES}
    roles[SUPERVISOR].append(gateway_pid)
    for child in psutil.Process(gateway_pid).children():
        line = " ".join(child.cmdline())
        role = next((role for mark, role in _MARKS.items() if mark in line), None)
        if role is not None:
            roles[role].append(child.pid)
    return roles


def cpu_s(pids: Iterable[int], *, with_children: bool = False) -> float:
    """CPU spent so far."""
    return sum(_cpu_s(psutil.Process(pid), with_children) for pid in pids)


def _cpu_s(process: psutil.Process, with_children: bool) -> float:
    try:
        spent = process.cpu_times()
        own = float(spent.user + spent.system)
        if not with_children:
            return own
        ended = float(spent.children_user + spent.children_system)
        return own + ended + sum(_cpu_s(child, True) for child in process.children())
    except psutil.NoSuchProcess:
        return 0.0


def roles_cpu_s(gateway_pid: int) -> dict[str, float]:
    """CPU spent so far by each role."""
    return {role: cpu_s(pids, with_children=role == POSTGRES) for role, pids in by_role(gateway_pid).items()}


def rss_bytes(pids: Iterable[int]) -> int:
    """Resident memory now."""
    return sum(int(psutil.Process(pid).memory_info().rss) for pid in pids)


class Foreign:
    """How busy this machine was with things that are not ours: noise, to be shown beside the figures."""

    def __init__(self) -> None:
        self._cores = os.cpu_count() or 1
        self._begun = self._busy_s(), self._ours_s()

    def ratio(self) -> float:
        """Their part of all cores since the beginning."""
        busy, ours = self._busy_s(), self._ours_s()
        all_s = busy[1] - self._begun[0][1]
        theirs_s = busy[0] - self._begun[0][0] - (ours - self._begun[1])
        return max(0.0, theirs_s / all_s) if all_s else 0.0

    def _busy_s(self) -> tuple[float, float]:
        """(busy, all) seconds of all cores together."""
        spent = psutil.cpu_times()
        idle = spent.idle + spent.iowait
        return float(sum(spent) - idle - spent.guest - spent.guest_nice), float(
            sum(spent) - spent.guest - spent.guest_nice
        )

    def _ours_s(self) -> float:
        return cpu_s([os.getpid()], with_children=True)


def python_call_ns() -> float:
    """What calling an empty Python function costs here now: the yardstick of this interpreter on this machine. Best of several."""
    return min(timeit.repeat(_nothing, number=_CALLS, repeat=5)) / _CALLS * 1e9


def said_build(configure_arguments: str) -> str:
    """How an interpreter was built, by the arguments of its `configure` (`sysconfig`'s CONFIG_ARGS): optimised by a profile, or not.

    Debian's and Ubuntu's packages do it by their own rules (debian/rules of python3.11, 2025), and not by the argument.
    """
    if "--enable-optimizations" in configure_arguments:
        return "built with --enable-optimizations"
    if "/usr/share/python-wheels" in configure_arguments:
        return "Debian's package, optimised by its own rules"
    return "built without --enable-optimizations"


def _nothing() -> None:
    """Is called, and that is all."""


def stop_children() -> None:
    """Whatever process we started and still runs (after a fault or Ctrl-C in the middle of a start), by its pid."""
    children = psutil.Process().children()
    for child in children:
        child.terminate()
    for child in psutil.wait_procs(children, timeout=_GONE_S)[1]:
        child.kill()


def said_version(pid: int) -> str:
    """What a running program says of itself with `--version`, on its first line."""
    said = subprocess.run([psutil.Process(pid).exe(), "--version"], capture_output=True, text=True, check=False)
    return said.stdout.partition("\n")[0].strip()
