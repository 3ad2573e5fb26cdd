"""How long files and functions are, how deep folders lie and how full they are. Units: lines, folders, files."""

import ast
from collections import Counter
from pathlib import Path

from tests.tidy import rules
from tests.tidy.checks import tree


def _lines_count(path: Path) -> int:
    return len(tree.text(path).splitlines())


def long_files(root: Path, lines_max: int = rules.FILE_LINES_MAX) -> list[str]:
    return [
        tree.finding(root, path, lines, f"{lines} lines, {lines_max} are allowed")
        for path in tree.python_files(root)
        if (lines := _lines_count(path)) > lines_max
    ]


def _docstring_lines_count(function: tree.FunctionNode) -> int:
    first = function.body[0]
    is_docstring = (
        isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and type(first.value.value) is str
    )
    return (first.end_lineno or first.lineno) - first.lineno + 1 if is_docstring else 0


def long_functions(root: Path) -> list[str]:
    found = []
    for path in tree.python_files(root):
        if any(path.relative_to(root).match(pattern) for pattern in rules.LONG_BY_NATURE):
            continue
        for function in tree.functions(path):
            whole = (function.end_lineno or function.lineno) - function.lineno + 1
            lines = whole - _docstring_lines_count(function)
            if lines > rules.FUNCTION_LINES_MAX:
                says = f"{function.name} has {lines} lines, {rules.FUNCTION_LINES_MAX} are allowed"
                found.append(tree.finding(root, path, function.lineno, says))
    return found


def deep_folders(root: Path) -> list[str]:
    found = []
    for path in tree.python_files(root, "gateway", "billing"):
        folder = tree.relative(root, path.parent)
        if folder.count("/") > rules.ROOM_DEPTH_MAX and folder not in rules.DEEPER_ROOMS:
            found.append(tree.finding(root, path, 1, "lies deeper than a room may"))
    return found


def full_rooms(root: Path) -> list[str]:
    rooms = Counter(
        path.parent
        for path in tree.python_files(root, *rules.PRODUCT)
        if path.name not in ("__init__.py", "__main__.py")
    )
    return [
        tree.finding(root, room, 0, f"{count} files in one room, {rules.ROOM_FILES_MAX} are allowed")
        for room, count in rooms.items()
        if count > rules.ROOM_FILES_MAX
    ]
