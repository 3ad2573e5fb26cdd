"""Money is never a binary fraction: no float name, call, annotation, column type or literal in the rooms of money."""

import ast
from pathlib import Path

from tests.tidy import rules
from tests.tidy.checks import tree


def _inexact(node: ast.AST) -> str:
    """What is inexact about one node; empty when nothing is."""
    if isinstance(node, ast.Constant) and type(node.value) in (float, complex):
        return f"the literal {node.value!r}"
    if isinstance(node, ast.Constant) and node.value in rules.INEXACT_NAMES:
        return f"the name {node.value} in quotes"
    if isinstance(node, ast.Name) and node.id in rules.INEXACT_NAMES:
        return f"the name {node.id}"
    if isinstance(node, ast.Attribute) and node.attr in rules.INEXACT_NAMES:
        return f"the name {node.attr}"
    if isinstance(node, ast.alias) and node.name in rules.INEXACT_NAMES:
        return f"the name {node.name}"
    return ""


def floats(root: Path) -> list[str]:
    return [
        tree.finding(root, path, getattr(node, "lineno", 1), f"{what} is not exact")
        for path in tree.python_files(root, *rules.MONEY_ROOMS)
        for node in ast.walk(tree.parse(path))
        if (what := _inexact(node))
    ]
