"""Each dependency of each pyproject.toml stands on a line of its own with the reason for it in a comment beside it."""

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

from tests.tidy.checks import tree


def _requirements(whole: str) -> Iterator[str]:
    data = tomllib.loads(whole)
    project = data.get("project", {})
    yield from project.get("dependencies", [])
    for table in (project.get("optional-dependencies", {}), data.get("dependency-groups", {})):
        for group in table.values():
            yield from (entry for entry in group if isinstance(entry, str))


def unexplained_dependencies(root: Path) -> list[str]:
    found = []
    for path in tree.files(root):
        if path.name != "pyproject.toml":
            continue
        whole = tree.text(path)
        for requirement in _requirements(whole):
            reason = re.compile(rf"""^\s*["']{re.escape(requirement)}["'],?\s+#\s*\w+""", re.MULTILINE)
            if not reason.search(whole):
                line = whole.count("\n", 0, max(whole.find(requirement), 0)) + 1
                found.append(tree.finding(root, path, line, f"{requirement} has no reason beside it"))
    return found
