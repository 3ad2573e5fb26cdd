"""`make bench`: what one call costs here, beside nginx as a bare proxy. Run: python -m tests.bench [--quick] [--write] [--profile]

Everything is started by us on loopback, bounded in count and time, and stopped at the end, on Ctrl-C and SIGTERM too.
Exit: 0; 1 where an answer was wrong or the ledger differs from what the mock served.
"""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from tests.bench import processes, sizing
from tests.bench.endurance import allow_files, hold_streams, saturate_for, settings_for
from tests.bench.hotspots import record
from tests.bench.load import BadAnswers, loader_name
from tests.bench.measures import QUICK, Scale, measure
from tests.bench.report import NO_FLOOR, Part, day_and_machine, machine, parts_of, profile_parts, show, to_markdown
from tests.bench.results import with_block, with_tables
from tests.bench.stage import LedgerDiffers, staged

RESULTS = Path(__file__).parent / "RESULTS.md"
_NO_PROFILER = "no profile: py-spy is installed neither beside this Python nor on PATH"


def _arguments() -> argparse.Namespace:
    asked = argparse.ArgumentParser(prog="python -m tests.bench", description="What one call costs here.")
    asked.add_argument("--quick", action="store_true", help="a first look, in about half a minute")
    asked.add_argument("--seconds", type=float, help="of each run at saturation")
    asked.add_argument("--runs", type=int, help="runs of which the median is shown")
    asked.add_argument("--door", choices=("protocol", "asgi"), default="protocol", help="where calls are taken off")
    asked.add_argument("--profile", action="store_true", help="also say where the worker's time goes (needs py-spy)")
    asked.add_argument("--profile-only", action="store_true", help="say only that")
    asked.add_argument(
        "--streams", type=int, metavar="N", help="instead: N streams open at once, and what they hold in memory"
    )
    asked.add_argument("--minutes", type=float, metavar="M", help="instead: M minutes at saturation, and what grows")
    asked.add_argument("--write", action="store_true", help=f"write {RESULTS.name}")
    return asked.parse_args()


def _scale(asked: argparse.Namespace) -> Scale:
    scale = QUICK if asked.quick else Scale()
    return replace(scale, seconds=asked.seconds or scale.seconds, runs=asked.runs or scale.runs)


def _bench(asked: argparse.Namespace, console: Console, work_dir: Path) -> None:
    scale = _scale(asked)
    parts: list[Part] = []
    facts: list[str] = []
    if asked.streams or asked.minutes:
        facts, parts = _endure(asked, work_dir)
        show(console, facts, parts)
        if asked.write:
            name = f"{asked.streams:,} streams at once" if asked.streams else f"{asked.minutes:g} minutes at saturation"
            _rewrite(lambda text: with_block(text, name, facts, parts))
        return
    with staged(work_dir, asked.door) as stage:
        if stage.floor is None:
            console.print(NO_FLOOR)
        if not asked.profile_only:
            found = measure(stage, scale, lambda what: console.print(f"… {what}", style="dim", highlight=False))
            parts += parts_of(found, scale, loader_name())
            nginx_version = None if stage.floor is None else stage.floor.version
            facts += machine(stage.gateway.process.pid, nginx_version, found, apart=stage.cores.apart)
        if asked.profile or asked.profile_only:
            spots = record(stage, max(scale.seconds, 5.0), scale.connections)
            parts += [] if spots is None else profile_parts(spots)
            facts += [_NO_PROFILER] if spots is None else []
    show(console, facts, parts)
    if asked.write and asked.door == "asgi":
        _rewrite(lambda text: with_block(text, "The ASGI door", facts, parts))
    elif asked.write:
        _rewrite(lambda text: with_tables(text, to_markdown(facts, parts)))


def _endure(asked: argparse.Namespace, work_dir: Path) -> tuple[list[str], list[Part]]:
    """What is held and what grows in the long run."""
    parts = []
    if asked.streams:
        allow_files(asked.streams)
    with staged(work_dir, asked.door, settings_for(asked.streams or 0)) as stage:
        foreign = processes.Foreign()
        if asked.streams:
            parts.append(hold_streams(stage, asked.streams))
        if asked.minutes:
            parts.append(saturate_for(stage, asked.minutes, _scale(asked).connections))
        calls = stage.settled().calls
        busy = f"busy with other programs meanwhile: {foreign.ratio():.0%} of all cores"
        where = day_and_machine(apart=stage.cores.apart)
    return [where, busy, f"the ledger holds all {calls:,} calls that the mock served, with its counts"], parts


def _rewrite(change: Callable[[str], str]) -> None:
    before = RESULTS.read_text(encoding="utf-8") if RESULTS.exists() else ""
    RESULTS.write_text(change(before), encoding="utf-8")
    sizing.write()


def main() -> int:
    console = Console()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    with tempfile.TemporaryDirectory(prefix="solar-bench-") as work_dir:
        try:
            _bench(_arguments(), console, Path(work_dir))
        except (BadAnswers, LedgerDiffers) as error:
            console.print(f"[bold red]{type(error).__name__}[/]: {error}")
            return 1
        except KeyboardInterrupt:
            console.print("stopped")
            return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
