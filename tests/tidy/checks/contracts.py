"""The import contracts of pyproject.toml: run as they stand on any tree, and kept complete.

A contract may only name modules that exist (import-linter 2.16 stops at others), so modules to come wait in comments of the
form `# later: gateway.replay, billing.jobs`; once such a module exists, its comment is a finding.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

from tests.tidy.checks import tree

LATER = re.compile(r"#\s*later:\s*([\w.]+(?:\s*,\s*[\w.]+)*)")
LINT_S_MAX = 60


def lint_imports(root: Path) -> subprocess.CompletedProcess[str]:
    """Runs import-linter over the tree at `root` with the tree's own pyproject.toml; exit 0 when every contract is kept."""
    command = [str(Path(sys.executable).parent / "lint-imports"), "--no-cache", "--config", "pyproject.toml"]
    paths = os.pathsep.join((str(root), str(root / "sdk")))
    environment = {**os.environ, "PYTHONPATH": paths, "COLUMNS": "200"}
    return subprocess.run(
        command, cwd=root, env=environment, capture_output=True, text=True, timeout=LINT_S_MAX, check=False
    )


def _exists(root: Path, module: str) -> bool:
    place = root.joinpath(*module.split("."))
    return place.with_suffix(".py").is_file() or (place / "__init__.py").is_file()


def waiting_modules(root: Path) -> list[str]:
    path = root / "pyproject.toml"
    return [
        tree.finding(root, path, number, f"{module} exists now: move it out of the comment into the contract")
        for number, line in enumerate(tree.text(path).splitlines(), start=1)
        for match in LATER.finditer(line)
        for module in re.split(r"\s*,\s*", match[1])
        if _exists(root, module)
    ]
