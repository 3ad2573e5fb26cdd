"""`python -m tests.chaos`: plays one seed, prints what it did and the three zeros; exits 1 where they are none."""

from __future__ import annotations

import argparse
import asyncio
import secrets
import sys
import tempfile
from pathlib import Path

from tests.chaos.faults import FAULTS
from tests.chaos.run import run


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--seed", default=None, help="replays the plan of an earlier run; a new one if not given")
    parser.add_argument("--seconds", type=float, default=60.0, help="how long faults are done")
    parser.add_argument("--faults", default=",".join(FAULTS), help=f"comma separated, of: {', '.join(FAULTS)}")
    parser.add_argument(
        "--at-once", type=int, default=1, choices=(1, 2), help="two at once lose what the report bounds"
    )
    parser.add_argument("--runs", type=int, default=1, help="so many seeds, one after another")
    parser.add_argument("--keep-log", action="store_true", help="keep the gateway's log of a clean run too")
    given = parser.parse_args()
    kinds = [kind.strip() for kind in given.faults.split(",") if kind.strip()]
    unknown = [kind for kind in kinds if kind not in FAULTS]
    if unknown or not kinds:
        parser.error(f"unknown faults: {', '.join(unknown) or 'none given'}")
    clean = True
    for number in range(given.runs):
        seed = given.seed if given.seed and number == 0 else secrets.token_hex(4)
        print(f"seed {seed}", flush=True)  # before anything can go wrong
        with tempfile.TemporaryDirectory(prefix="solar-chaos-") as folder:
            report = asyncio.run(run(Path(folder), seed, given.seconds, kinds, at_once=given.at_once))
            print(report.text(), flush=True)
            if not report.is_clean or given.keep_log:
                kept = Path(tempfile.gettempdir()) / f"solar-chaos-{seed}.log"
                kept.write_bytes(report.log_path.read_bytes())
                print(f"  the gateway's log: {kept}")
            clean = clean and report.is_clean
    return 0 if clean else 1


if __name__ == "__main__":
    sys.exit(main())
