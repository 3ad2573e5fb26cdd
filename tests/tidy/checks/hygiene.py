"""What we ship names no address in a lock and no folder of the machine that it was written on; the lock is the hashed one."""

import re
from pathlib import Path

from tests.tidy import rules
from tests.tidy.checks import tree


def addresses_in_locks(root: Path) -> list[str]:
    return [
        tree.finding(root, path, number, "a lock holds no address")
        for path in tree.files(root)
        if path.suffix == ".lock"
        for number, line in enumerate(tree.text(path).splitlines(), start=1)
        if any(word in line for word in rules.LOCK_FORBIDS)
    ]


def foreign_locks(root: Path) -> list[str]:
    return [
        tree.finding(root, path, 1, "the lock of this project is requirements.lock")
        for path in tree.files(root)
        if path.name == "uv.lock"
    ]


def machine_folders(root: Path) -> tuple[str, ...]:
    """The folders, each with a `/` at its end, that would tell on which machine and where the tree lies."""
    above = root.resolve().parent.as_posix()
    own = (f"{root.resolve().as_posix()}/", f"{Path.home().as_posix()}/")
    return (*own, *rules.HOME_FOLDERS, *(() if above in rules.SHARED_FOLDERS else (f"{above}/",)))


def machine_paths(root: Path) -> list[str]:
    names = {re.escape(folder) for folder in machine_folders(root) if folder != "//"}
    pattern = re.compile(rf"(?<![\w.)}}-])({'|'.join(sorted(names))})")
    return [
        tree.finding(root, path, number, f"{match[1]} is a folder of one machine")
        for path in tree.files(root)
        for number, line in enumerate(tree.text(path).splitlines(), start=1)
        if (match := pattern.search(line))
    ]
