"""The files of a tree, as git would see them, and their syntax.

A file counts unless `.gitignore` of the root names it (or a folder above it) with a plain pattern; git itself is not asked,
so a planted tree needs no repository.
"""

import ast
from collections.abc import Iterator
from fnmatch import fnmatch
from functools import lru_cache
from pathlib import Path

FunctionNode = ast.FunctionDef | ast.AsyncFunctionDef


def relative(root: Path, path: Path) -> str:
    return path.relative_to(root).as_posix()


def finding(root: Path, path: Path, line: int, says: str) -> str:
    return f"{relative(root, path)}:{line}: {says}"


def matches(name: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatch(name, pattern) for pattern in patterns)


def ignored_patterns(root: Path) -> tuple[str, ...]:
    ignore = root / ".gitignore"
    lines = ignore.read_text(encoding="utf-8").splitlines() if ignore.is_file() else []
    plain = (line.strip().strip("/") for line in lines if line.strip() and not line.startswith("#"))
    return (".git", "__pycache__", *plain)


def files(root: Path, *rooms: str) -> list[Path]:
    """All files below the rooms (without rooms: below the root) that git would track, in a fixed order."""
    patterns = ignored_patterns(root)

    def walk(folder: Path) -> Iterator[Path]:
        for entry in sorted(folder.iterdir()):
            if matches(entry.name, patterns) or matches(relative(root, entry), patterns):
                continue
            if entry.is_dir() and not entry.is_symlink():
                yield from walk(entry)
            elif entry.is_file():
                yield entry

    starts = [root / room for room in rooms] or [root]
    return [path for start in starts if start.is_dir() for path in walk(start)]


def python_files(root: Path, *rooms: str) -> list[Path]:
    return [path for path in files(root, *rooms) if path.suffix == ".py"]


def text(path: Path) -> str:
    """The text of a file; of a binary file, nothing."""
    raw = path.read_bytes()
    return "" if b"\0" in raw else raw.decode("utf-8", errors="replace")


@lru_cache(maxsize=1024)
def _parse(source: str) -> ast.Module:
    return ast.parse(source)


def parse(path: Path) -> ast.Module:
    return _parse(text(path))


def functions(path: Path) -> list[FunctionNode]:
    return [node for node in ast.walk(parse(path)) if isinstance(node, FunctionNode)]


def imported(node: ast.AST) -> list[str]:
    """The modules that an import statement names; nothing for other nodes and for relative imports."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom) and node.module and not node.level:
        return [node.module]
    return []


def dotted(node: ast.AST) -> str:
    """`a.b.c` of a name or an attribute chain; empty for anything else."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        owner = dotted(node.value)
        return f"{owner}.{node.attr}" if owner else ""
    return ""
