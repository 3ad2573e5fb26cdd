"""The code of another version, as it stands in the history of this tree, to be run beside ours."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from tests.deploy.files import ROOT
from tests.deploy.stack import code_of

VERSION_BEFORE = "64d775310c9a2afcf2abf8d88ee1098bf7b2da7d"
"""The last state of main before revision 0016: the version that a rolling upgrade to this one starts from. A release moves it on."""

_NEEDS = "the test needs a clone with its history: in a shallow one, `git fetch --unshallow`."
_CODE = ("gateway", "billing", "deploy")


def unpacked(commit: str, into: Path) -> Path:
    """Write the code of a commit into a folder. Fails, loudly, where this tree has no history that reaches so far."""
    reached = subprocess.run(["git", "-C", str(ROOT), "merge-base", "--is-ancestor", commit, "HEAD"], check=False)  # noqa: S607
    assert reached.returncode == 0, f"{commit} is not in the history of this tree: a fresh clone may lack it; {_NEEDS}"
    archive = subprocess.run(["git", "-C", str(ROOT), "archive", commit, *_CODE], capture_output=True, check=False)  # noqa: S607
    assert archive.returncode == 0, (
        f"No two versions could be run side by side: this tree has no commit {commit} ({archive.stderr.decode().strip()}). "
        f"{_NEEDS}"
    )
    into.mkdir()
    subprocess.run(["tar", "-x", "-C", str(into)], input=archive.stdout, check=True)  # noqa: S607
    asked = [sys.executable, "-c", "import gateway, billing; print(gateway.__file__, billing.__file__)"]
    found = subprocess.run(asked, cwd=into, env=code_of(into), capture_output=True, text=True, check=True)
    assert found.stdout.split() == [str(into / room / "__init__.py") for room in ("gateway", "billing")]
    return into


def newest_revision(version: Path) -> str:
    """The number of the newest migration that a version has."""
    names = [path.name for path in (version / "deploy" / "migrations" / "versions").glob("*.py")]
    return max(number[0] for name in names if (number := re.match(r"\d{4}", name)))
