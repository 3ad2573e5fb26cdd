"""Turns itself into another program, one that ends with its parent and that need not be root.

Run as a script by a bare interpreter (`python -I -S launch.py …`, about 25 ms), so it imports only the standard library
and nothing of ours. In this order: default signals, umask 077, the other user (if asked), the death signal, the check
that the parent still lives, exec. The order matters: the kernel forgets the death signal when credentials change.

A program that must not be root may lie, with its data, below directories only root can enter (/root is 0700). So the
right to enter and read directories goes along as an ambient capability: CAP_DAC_READ_SEARCH, which cannot write; or
CAP_DAC_OVERRIDE where the first is missing (containers) or the program's own mode forbids others to run it (umask 077).
Postgres asks access(2) about its own files, which for a user other than root forgets all capabilities unless the
securebit NO_SETUID_FIXUP is set (needs CAP_SETPCAP, which root and containers have).
Where any of this is not permitted, the program runs with plain file permissions.

The death signal fires when the *thread* that started us ends, not only the process: start children from the main
thread, or from one that outlives them. Outside Linux there is no death signal; kill -9 of the parent leaves the child.

Exit: 125 parent gone, 126 user or program refused (the reason is on stderr); else the program's own code.
Sources, read November 2026: prctl(2), capabilities(7), PR_SET_PDEATHSIG(2const), linux/capability.h.
"""

import ctypes
import os
import signal
import stat
import sys
from collections.abc import Sequence

KEEP_ID = -1
EXIT_PARENT_GONE = 125
EXIT_REFUSED = 126

_PR_SET_PDEATHSIG = 1
_PR_SET_KEEPCAPS = 8
_PR_GET_SECUREBITS = 27
_PR_SET_SECUREBITS = 28
_PR_CAP_AMBIENT = 47
_PR_CAP_AMBIENT_RAISE = 2
_SECBIT_NO_SETUID_FIXUP = 1 << 2
_CAP_DAC_OVERRIDE = 1
_CAP_DAC_READ_SEARCH = 2
_CAPABILITY_VERSION_3 = 0x20080522
_DEFAULTED = (signal.SIGINT, signal.SIGTERM, signal.SIGQUIT, signal.SIGHUP, signal.SIGPIPE, signal.SIGXFSZ)


class _CapabilityHeader(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _CapabilitySets(ctypes.Structure):
    _fields_ = (("effective", ctypes.c_uint32), ("permitted", ctypes.c_uint32), ("inheritable", ctypes.c_uint32))


def launcher_argv(command: Sequence[str], *, death_signal: int, uid: int = KEEP_ID, gid: int = KEEP_ID) -> list[str]:
    """The argv that starts `command` through this file as a child of the calling process."""
    numbers = (os.getpid(), death_signal, uid, gid)
    return [sys.executable, "-I", "-S", os.path.abspath(__file__), *map(str, numbers), *command]


def _prctl(libc: ctypes.CDLL, option: int, first: int, second: int = 0) -> bool:
    arguments = (ctypes.c_ulong(first), ctypes.c_ulong(second), ctypes.c_ulong(0), ctypes.c_ulong(0))
    return bool(libc.prctl(option, *arguments) == 0)


def _become(libc: ctypes.CDLL, uid: int, gid: int) -> None:
    """Changes user and group for good; keeps the permitted capabilities for `_keep_entry_right` to choose from."""
    securebits = libc.prctl(_PR_GET_SECUREBITS, *(ctypes.c_ulong(0),) * 4)
    _prctl(libc, _PR_SET_SECUREBITS, securebits | _SECBIT_NO_SETUID_FIXUP)
    _prctl(libc, _PR_SET_KEEPCAPS, 1)
    try:
        os.setgroups([])
    except PermissionError as refused:  # a user namespace that denies setgroups has no groups worth dropping
        print(f"launch: kept supplementary groups: {refused}", file=sys.stderr)  # noqa: T201  stderr is the log
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)


def _keep_entry_right(libc: ctypes.CDLL, program: str, program_mode: int) -> None:
    """Reduces all capabilities to the one that lets `program` reach its files, and lets it survive exec."""
    header = _CapabilityHeader(_CAPABILITY_VERSION_3, 0)
    sets = (_CapabilitySets * 2)()
    if libc.capget(ctypes.byref(header), sets) != 0:
        return
    others_may_run = bool(program_mode & stat.S_IXOTH)
    wanted = (_CAP_DAC_READ_SEARCH, _CAP_DAC_OVERRIDE) if others_may_run else (_CAP_DAC_OVERRIDE, _CAP_DAC_READ_SEARCH)
    held = [capability for capability in wanted if sets[0].permitted & 1 << capability]
    mask = 1 << held[0] if held else 0
    sets[0] = _CapabilitySets(mask, mask, mask)
    sets[1] = _CapabilitySets(0, 0, 0)
    kept = bool(held) and libc.capset(ctypes.byref(header), sets) == 0
    if not kept or not _prctl(libc, _PR_CAP_AMBIENT, _PR_CAP_AMBIENT_RAISE, held[0]):
        note = f"launch: {program} runs with plain file permissions; every folder above it must be open to its user"
        print(note, file=sys.stderr)  # noqa: T201  stderr is the log


def main(argv: Sequence[str]) -> int:
    """argv: parent pid, death signal, uid, gid, program, arguments… Returns only if the program cannot be started."""
    parent_pid, death_signal, uid, gid = (int(number) for number in argv[:4])
    command = list(argv[4:])
    for each in _DEFAULTED:
        signal.signal(each, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    os.umask(0o077)
    libc = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None
    try:
        if uid != KEEP_ID and libc is not None:
            program_mode = os.stat(command[0]).st_mode
            _become(libc, uid, gid)
            _keep_entry_right(libc, command[0], program_mode)
        elif uid != KEEP_ID:
            os.setgid(gid)
            os.setuid(uid)
        if libc is not None and not _prctl(libc, _PR_SET_PDEATHSIG, death_signal):
            raise OSError(ctypes.get_errno(), "no death signal")
        if os.getppid() != parent_pid:  # the parent died before the death signal was set: nobody is left to ask for us
            return EXIT_PARENT_GONE
        os.execv(command[0], command)  # noqa: S606  no shell is the point
    except OSError as refused:
        print(f"launch: {command[0]} as uid {uid}: {refused}", file=sys.stderr)  # noqa: T201  stderr is the log
        return EXIT_REFUSED


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
