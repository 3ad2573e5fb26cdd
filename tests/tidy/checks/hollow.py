"""Tests that cannot fail: skipped or expected to fail, asserting a constant, or sleeping and hoping."""

import ast
from pathlib import Path

from tests.tidy import rules
from tests.tidy.checks import tree

SKIPS = frozenset({"skip", "skipif", "xfail", "importorskip", "skipTest", "skipIf", "skipUnless", "expectedFailure"})
RUNNERS = frozenset({"pytest", "unittest"})


def _skips(node: ast.AST) -> bool:
    if isinstance(node, ast.ImportFrom) and node.module in RUNNERS:
        return any(alias.name in SKIPS for alias in node.names)
    name = tree.dotted(node) if isinstance(node, ast.Attribute) else ""
    return name == "self.skipTest" or (name.partition(".")[0] in RUNNERS and name.rpartition(".")[2] in SKIPS)


def skipped_tests(root: Path) -> list[str]:
    return [
        tree.finding(root, path, getattr(node, "lineno", 1), "a skipped check is a defect")
        for path in tree.python_files(root, "tests")
        for node in ast.walk(tree.parse(path))
        if _skips(node)
    ]


def _always_true(test: ast.expr) -> bool:
    return (isinstance(test, ast.Constant) and bool(test.value)) or (isinstance(test, ast.Tuple) and bool(test.elts))


def asserted_constants(root: Path) -> list[str]:
    return [
        tree.finding(root, path, node.lineno, "asserts what is always true")
        for path in tree.python_files(root)
        for node in ast.walk(tree.parse(path))
        if isinstance(node, ast.Assert) and _always_true(node.test)
    ]


def _sleeps(node: ast.AST) -> bool:
    if isinstance(node, ast.ImportFrom) and node.module == "time":
        return any(alias.name == "sleep" for alias in node.names)
    return isinstance(node, ast.Attribute) and tree.dotted(node) == "time.sleep"


def blocking_sleeps(root: Path) -> list[str]:
    return [
        tree.finding(root, path, getattr(node, "lineno", 1), "a blocking sleep hopes; wait for the thing itself")
        for path in tree.python_files(root, *rules.ALL_CODE)
        if not tree.matches(tree.relative(root, path), rules.SLEEPERS)
        for node in ast.walk(tree.parse(path))
        if _sleeps(node)
    ]
