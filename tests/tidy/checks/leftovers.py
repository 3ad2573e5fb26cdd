"""What was meant to be done later: marker words anywhere, unwritten functions, comments that switch a checker off wholesale."""

import ast
import io
import re
import tokenize
from pathlib import Path

from tests.tidy import rules
from tests.tidy.checks import tree

MARKER = re.compile(rf"\b({'|'.join(rules.LEFTOVER_WORDS)})\b")
BLANKET = re.compile(r"#\s*(type:\s*ignore(?!\[)|noqa\b(?!:\s*[A-Z])|mypy:\s*ignore|ruff:\s*noqa\b(?!:))")


def marker_words(root: Path) -> list[str]:
    return [
        tree.finding(root, path, number, f"{match[0]} is left over")
        for path in tree.files(root)
        if path.suffix != ".lock"
        for number, line in enumerate(tree.text(path).splitlines(), start=1)
        if (match := MARKER.search(line))
    ]


def unwritten_functions(root: Path) -> list[str]:
    return [
        tree.finding(root, path, node.lineno, "something is not implemented")
        for path in tree.python_files(root)
        for node in ast.walk(tree.parse(path))
        if isinstance(node, ast.Name) and node.id == "NotImplementedError"
    ]


def blanket_ignores(root: Path) -> list[str]:
    """Ignores without a code; only real comments count, so a string that speaks of one is free."""
    return [
        tree.finding(root, path, token.start[0], "an ignore names the code that it ignores")
        for path in tree.python_files(root)
        for token in tokenize.generate_tokens(io.StringIO(tree.text(path)).readline)
        if token.type == tokenize.COMMENT and BLANKET.search(token.string)
    ]
