"""What a call costs its caller: solar_sdk beside openai-python, in one run. Run: python -m tests.bench.sdk [--calls N] [--runs N]

Both ask the bench's mock, over one kept-alive connection, in turns within this process: CPU time of a whole call and of a streamed event.
And what `import` costs more than importing httpx, in processes of their own. Medians of the runs, and the ratio; exit 1 where the aim
(issue 12: calls below openai's, import at most 150 ms more than httpx) is missed.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import version

import openai
from rich.console import Console
from rich.table import Table

import solar_sdk
from tests.bench import calls

_IMPORT_AIM_S = 0.150
_MESSAGES = [{"role": "user", "content": "안녕?"}]
_EVENTS = 200


@contextmanager
def _mock() -> Iterator[str]:
    """The bench's mock in a process of its own; its base address."""
    process = subprocess.Popen([sys.executable, "-m", "tests.bench.mock"], stdout=subprocess.PIPE)
    assert process.stdout is not None
    try:
        yield f"http://127.0.0.1:{int(process.stdout.readline())}/v1"
    finally:
        process.terminate()
        process.wait(10)


def cpu_us(work: Callable[[], object], count: int) -> float:
    """CPU microseconds of this process for each of `count` repetitions."""
    begun = time.process_time()
    for _ in range(count):
        work()
    return (time.process_time() - begun) / count * 1e6


def import_s(statement: str) -> float:
    """CPU seconds of a process that does nothing but import, as users have it: compiled once, at its first start."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-c", statement], check=True, timeout=60, env=environment)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def measured(url: str, count: int, runs: int) -> dict[str, tuple[float, float]]:
    """What is measured → (ours, theirs), medians in microseconds."""
    ours = solar_sdk.Solar("sk-bench", url)
    theirs = openai.OpenAI(api_key="sk-bench", base_url=url)
    asked = [{"role": "user", "content": f"Count. events={_EVENTS} gap_ms=0"}]

    def our_stream() -> None:
        for _ in ours.chat.completions.create(model=calls.MODEL, messages=asked, stream=True):
            pass

    def their_stream() -> None:
        for _ in theirs.chat.completions.create(model=calls.MODEL, messages=asked, stream=True):  # type: ignore[arg-type]
            pass

    works: dict[str, tuple[Callable[[], object], Callable[[], object], int, int]] = {
        "whole call": (
            lambda: ours.chat("안녕?", model=calls.MODEL),
            lambda: theirs.chat.completions.create(model=calls.MODEL, messages=_MESSAGES),  # type: ignore[arg-type]
            count,
            1,
        ),
        "streamed event": (our_stream, their_stream, max(1, count // 50), _EVENTS),
    }
    results = {}
    for name, (our_work, their_work, repetitions, parts) in works.items():
        our_work(), their_work()
        pairs = [(cpu_us(our_work, repetitions), cpu_us(their_work, repetitions)) for _ in range(runs)]
        results[name] = tuple(statistics.median(side) / parts for side in zip(*pairs, strict=True))
    ours.close()
    theirs.close()
    return results


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--calls", type=int, default=500)
    arguments.add_argument("--runs", type=int, default=5)
    asked = arguments.parse_args()
    with _mock() as url:
        results = measured(url, asked.calls, asked.runs)
    import_s("import solar_sdk")
    imports = [(import_s("import httpx"), import_s("import solar_sdk")) for _ in range(asked.runs)]
    httpx_s, sdk_s = (statistics.median(side) for side in zip(*imports, strict=True))
    table = Table("what", "solar_sdk", f"openai {version('openai')}", "ratio", title="CPU of the caller")
    for name, (mine, other) in results.items():
        table.add_row(name, f"{mine:.0f} µs", f"{other:.0f} µs", f"{mine / other:.2f}")
    table.add_row("import beyond httpx", f"{(sdk_s - httpx_s) * 1000:.0f} ms", "", "")
    Console().print(table)
    met = all(mine < other for mine, other in results.values()) and sdk_s - httpx_s <= _IMPORT_AIM_S
    print("aims met" if met else "an aim is missed")
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
