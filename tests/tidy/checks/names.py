"""Names that say nothing, and tests whose names are no sentences."""

from pathlib import Path

from tests.tidy import rules
from tests.tidy.checks import tree


def empty_module_names(root: Path) -> list[str]:
    """Modules and packages with a word such as those of `rules.EMPTY_NAMES` in their name, once each."""
    places = {
        place for path in tree.python_files(root) for place in (path, *path.parents) if place.is_relative_to(root)
    }
    return [
        tree.finding(root, place, 1, "the name does not say what the module is about")
        for place in sorted(places - {root})
        if rules.EMPTY_NAMES & set(place.stem.lower().split("_"))
    ]


def terse_test_names(root: Path) -> list[str]:
    found = []
    for path in tree.python_files(root, "tests"):
        for function in tree.functions(path) if path.name.startswith("test_") else []:
            words = function.name.split("_")[1:]
            if function.name.startswith("test_") and len(words) < rules.TEST_NAME_WORDS_MIN:
                found.append(tree.finding(root, path, function.lineno, f"{function.name} is no sentence"))
    return found
