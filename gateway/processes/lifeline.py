"""Ends this process with its parent (Linux), so that no process of ours outlives whoever started it.

The kernel sends SIGTERM when the *thread* that started us ends: start processes from a thread that outlives them.
Elsewhere than on Linux nothing happens. Source: prctl(2), PR_SET_PDEATHSIG(2const), read November 2026.
"""

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def end_with_parent() -> None:
    """Asks for SIGTERM at the parent's death. Raises SystemExit if the parent is gone already."""
    if sys.platform != "linux":
        return
    parent_pid = os.getppid()
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_PDEATHSIG, ctypes.c_ulong(signal.SIGTERM)) != 0:
        raise OSError(ctypes.get_errno(), "no death signal")
    if os.getppid() != parent_pid:
        sys.exit(0)
