"""Handlers that swallow everything: a bare `except`, `Exception` or `BaseException` that does not raise again, and the same
by `contextlib.suppress`."""

import ast
from pathlib import Path

from tests.tidy import rules
from tests.tidy.checks import tree

EVERYTHING = frozenset({"Exception", "BaseException", "builtins.Exception", "builtins.BaseException"})


def _names_everything(kind: ast.expr | None) -> bool:
    if kind is None:
        return True
    if isinstance(kind, ast.Tuple):
        return any(_names_everything(part) for part in kind.elts)
    return tree.dotted(kind) in EVERYTHING


def _always_raises(body: list[ast.stmt]) -> bool:
    last = body[-1] if body else None
    if isinstance(last, ast.If):
        return _always_raises(last.body) and _always_raises(last.orelse)
    return isinstance(last, ast.Raise)


def _swallows(node: ast.AST) -> bool:
    if isinstance(node, ast.ExceptHandler):
        return _names_everything(node.type) and not _always_raises(node.body)
    if isinstance(node, ast.Call) and tree.dotted(node.func) in ("suppress", "contextlib.suppress"):
        return any(_names_everything(kind) for kind in node.args)
    return False


def swallowed_exceptions(root: Path) -> list[str]:
    return [
        tree.finding(root, path, getattr(node, "lineno", 1), "catches everything and does not raise again")
        for path in tree.python_files(root, *rules.ALL_CODE)
        for node in ast.walk(tree.parse(path))
        if _swallows(node)
    ]
