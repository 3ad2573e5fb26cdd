"""Puts load on a target: by wrk where it is installed, else by callers.py; streams and latency always by callers.py.

Errors: `BadAnswers` where any answer was wrong: a figure of wrong answers is no figure.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import msgspec

from tests.bench import calls
from tests.bench.callers import Order, Report

_GRACE_S = 240.0
_WRK = """\
wrk.method = "POST"
wrk.path = "{path}"
wrk.headers["Authorization"] = "Bearer {secret}"
wrk.headers["Content-Type"] = "application/json"
wrk.body = [[{body}]]
function done(summary, latency, requests)
  local e = summary.errors
  local bad = e.status + e.connect + e.read + e.write + e.timeout
  local fault = string.format("status %d, connect %d, read %d, write %d, timeout %d", e.status, e.connect, e.read, e.write, e.timeout)
  io.stderr:write(string.format('{{"answers":%d,"bad":%d,"seconds":%f,"first_fault":"%s"}}',
    summary.requests, bad, summary.duration / 1e6, fault))
end
"""


class BadAnswers(Exception):
    """An answer was not what the mock had said."""


def loader_name() -> str:
    """What makes the load at saturation."""
    return "wrk" if shutil.which("wrk") else "our own loader (wrk is not installed)"


def saturate(base_url: str, secret: str, seconds: float, connections: int, work_dir: Path) -> Report:
    """As many whole answers as go, over so many connections."""
    wrk = shutil.which("wrk")
    if wrk is None:
        return carry_out(Order(base_urls=[base_url], secret=secret, seconds=seconds, connections=connections))
    script = work_dir / "load.lua"
    script.write_text(_WRK.format(path=calls.PATH, secret=secret, body=calls.whole_body().decode()))
    argv = [
        wrk,
        "-t1",
        f"-c{connections}",
        f"-d{max(1, round(seconds))}s",
        "--timeout",
        "10s",
        "-s",
        str(script),
        base_url,
    ]
    done = subprocess.run(argv, capture_output=True, timeout=seconds + _GRACE_S, check=True)
    return _checked(msgspec.json.decode(done.stderr, type=Report), base_url)


def carry_out(order: Order) -> Report:
    """An order to the load of our own."""
    argv = [sys.executable, "-m", "tests.bench.callers"]
    done = subprocess.run(
        argv, input=msgspec.json.encode(order), stdout=subprocess.PIPE, timeout=order.seconds + _GRACE_S, check=True
    )
    return _checked(msgspec.json.decode(done.stdout, type=Report), ", ".join(order.base_urls))


def _checked(report: Report, where: str) -> Report:
    if report.bad or not report.answers:
        raise BadAnswers(
            f"{where}: {report.bad} of {report.answers} answers were wrong; the first: {report.first_fault}"
        )
    return report
