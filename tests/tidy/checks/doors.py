"""Who may import what: one library, one door; nothing imported late; the SDK lives on what it declares."""

import ast
import sys
from pathlib import Path

from tests.tidy import rules
from tests.tidy.checks import tree

LATE_CALLS = frozenset({"__import__", "importlib.import_module", "import_module"})


def wrong_doors(root: Path) -> list[str]:
    found = []
    for path in tree.python_files(root, *rules.PRODUCT):
        where = tree.relative(root, path)
        for node in ast.walk(tree.parse(path)):
            for module in tree.imported(node):
                library = module.partition(".")[0]
                if library in rules.DOORS and not tree.matches(where, rules.DOORS[library]):
                    found.append(tree.finding(root, path, getattr(node, "lineno", 1), f"{library} has another door"))
    return found


def late_imports(root: Path) -> list[str]:
    """Import statements inside functions, anywhere; import calls in the product, except where `LATE_IMPORTS` excuses them."""
    statements = {
        tree.finding(root, path, node.lineno, "imports inside a function")
        for path in tree.python_files(root)
        for function in tree.functions(path)
        for node in ast.walk(function)
        if isinstance(node, ast.Import | ast.ImportFrom)
    }
    calls = {
        tree.finding(root, path, node.lineno, "imports by a call")
        for path in tree.python_files(root, *rules.PRODUCT)
        if not tree.matches(tree.relative(root, path), tuple(rules.LATE_IMPORTS))
        for node in ast.walk(tree.parse(path))
        if isinstance(node, ast.Call) and tree.dotted(node.func) in LATE_CALLS
    }
    return sorted(statements | calls)


def undeclared_sdk_libraries(root: Path) -> list[str]:
    known = rules.SDK_LIBRARIES | sys.stdlib_module_names
    return [
        tree.finding(root, path, getattr(node, "lineno", 1), f"{module} is not among what the SDK declares")
        for path in tree.python_files(root, "sdk/solar_sdk")
        for node in ast.walk(tree.parse(path))
        for module in tree.imported(node)
        if module.partition(".")[0] not in known
    ]
