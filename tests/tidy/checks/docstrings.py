"""Every module says what it does; every package of the product says what it owns and what it never does."""

import ast
from pathlib import Path

from tests.tidy import rules
from tests.tidy.checks import tree

OWNING_WORDS = {"own": "what it owns", "never": "what it never does"}


def undocumented_modules(root: Path) -> list[str]:
    found = []
    for path in tree.python_files(root):
        empty_package = path.name == "__init__.py" and not tree.text(path).strip()
        excused = empty_package or tree.matches(tree.relative(root, path), rules.NO_DOCSTRING_NEEDED)
        if not excused and not ast.get_docstring(tree.parse(path)):
            found.append(tree.finding(root, path, 1, "the module has no docstring"))
    return found


def rooms_without_owner(root: Path) -> list[str]:
    """Packages whose `__init__` docstring and README together lack a word of owning or of never doing."""
    found = []
    for path in tree.python_files(root, *rules.OWNING_ROOMS):
        if path.name != "__init__.py":
            continue
        readme = path.parent / "README.md"
        said = (ast.get_docstring(tree.parse(path)) or "") + (tree.text(readme) if readme.is_file() else "")
        missing = [what for word, what in OWNING_WORDS.items() if word not in said.lower()]
        if missing:
            found.append(tree.finding(root, path, 1, f"the room does not say {' and '.join(missing)}"))
    return found
