"""Programs of clients that need an older `openai` than ours: each runs in `.venv-clients` and prints what it saw, as one JSON object.

They know nothing of us but an address and a key, and import nothing of ours.
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

PYTHON = Path(__file__).parents[3] / ".venv-clients" / "bin" / "python"
_TIMEOUT_S = 150


def run_program(name: str, url: str, secret: str) -> dict[str, Any]:
    """What a program of this folder says of a gateway."""
    program = Path(__file__).with_name(f"{name}_program.py")
    done = subprocess.run(
        [str(PYTHON), "-W", "ignore", str(program), url, secret], capture_output=True, text=True, timeout=_TIMEOUT_S
    )
    assert done.returncode == 0, f"{done.stdout[-1000:]}\n{done.stderr[-3000:]}"
    seen: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return seen
