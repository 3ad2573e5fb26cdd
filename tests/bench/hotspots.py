"""Where a worker's time goes: py-spy at saturation, twice cut: by function, and by the line of ours under which the time was spent.

py-spy is no dependency: it is used where it lies beside this Python or on PATH. A C function counts for the Python function that calls it.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from tests.bench.load import saturate
from tests.bench.stage import Stage

_RATE_HZ = 400
_SHOWN = 15
_MARGIN_S = 30.0
_WARM_UP_S = 1.0
_MAIN_THREAD = "(gateway/processes/worker.py"
"""On every stack of the thread that does the work; py-spy takes idle threads of the executor for busy ones."""
_OURS = ("gateway/", "billing/")
_LOOP = "main ("
_LOOP_SAYS = "uvloop, uvicorn and httptools, where no function of ours is below"


@dataclass(frozen=True, slots=True)
class Hotspots:
    """Shares of the worker's time, largest first."""

    functions: list[tuple[str, float]]
    own_functions: list[tuple[str, float]]
    """The deepest function of ours on the stack, with all that libraries did under it."""
    samples: int


def py_spy() -> str | None:
    """The program, if there is one."""
    return shutil.which("py-spy", path=str(Path(sys.executable).parent)) or shutil.which("py-spy")


def record(stage: Stage, seconds: float, connections: int) -> Hotspots | None:
    """Sample the worker at saturation; None without py-spy."""
    program = py_spy()
    if program is None:
        return None
    saturate(stage.gateway.url, stage.secret, _WARM_UP_S, connections, stage.work_dir)
    out = stage.work_dir / "stacks.txt"
    [pid] = stage.worker_pids
    argv = [
        program,
        "record",
        "--pid",
        str(pid),
        "--rate",
        str(_RATE_HZ),
        "--duration",
        str(max(1, round(seconds - 1))),
    ]
    argv += ["--format", "raw", "--function", "--output", str(out)]
    spying = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        saturate(stage.gateway.url, stage.secret, seconds, connections, stage.work_dir)
        spying.wait(seconds + _MARGIN_S)
    finally:
        if spying.poll() is None:
            spying.terminate()
            spying.wait()
    stage.settled()
    return read_stacks(out.read_text(encoding="utf-8"))


def read_stacks(text: str) -> Hotspots:
    """py-spy's raw format: a line per stack, `outermost;…;innermost count`."""
    functions: Counter[str] = Counter()
    own: Counter[str] = Counter()
    for line in text.splitlines():
        stack, _, count = line.rpartition(" ")
        if _MAIN_THREAD not in stack:
            continue
        frames = stack.split(";")
        functions[frames[-1]] += int(count)
        ours = next(frame for frame in reversed(frames) if _is_ours(frame))
        own[_LOOP_SAYS if ours.startswith(_LOOP) else ours] += int(count)
    total = functions.total() or 1
    return Hotspots(_shares(functions, total), _shares(own, total), total)


def _is_ours(frame: str) -> bool:
    return any(f"({room}" in frame for room in _OURS)


def _shares(counted: Counter[str], total: int) -> list[tuple[str, float]]:
    return [(name, count / total) for name, count in counted.most_common(_SHOWN)]
