"""Nothing on the main branch is meant to be done later."""

import pytest

from tests.tidy import rules
from tests.tidy.checks import leftovers
from tests.tidy.conftest import Plant
from tests.tidy.report import none_of

# Planted comments are put together here, so that this file does not hold them.
IGNORE, NOQA = "# type: " + "ignore", "# no" + "qa"


def test_no_marker_word_is_left_in_the_repository() -> None:
    none_of(leftovers.marker_words(rules.ROOT))


@pytest.mark.parametrize("word", rules.LEFTOVER_WORDS)
@pytest.mark.parametrize("name", ["gateway/x.py", "README.md", ".ci/run"])
def test_a_marker_word_is_found_in_any_file(plant: Plant, name: str, word: str) -> None:
    assert leftovers.marker_words(plant(name, f"\n# {word}: later\n")) == [f"{name}:2: {word} is left over"]


def test_every_function_of_the_repository_is_implemented() -> None:
    none_of(leftovers.unwritten_functions(rules.ROOT))


def test_a_function_that_is_not_implemented_is_found(plant: Plant) -> None:
    root = plant("billing/x.py", "def f():\n    raise NotImplementedError\n")
    assert leftovers.unwritten_functions(root) == ["billing/x.py:2: something is not implemented"]


def test_every_ignore_of_the_repository_names_its_code() -> None:
    none_of(leftovers.blanket_ignores(rules.ROOT))


@pytest.mark.parametrize("comment", [IGNORE, NOQA, f"{NOQA} because", "# mypy: " + "ignore-errors"])
def test_an_ignore_without_a_code_is_found(plant: Plant, comment: str) -> None:
    root = plant("tests/x.py", f"x = 1  {comment}\n")
    assert leftovers.blanket_ignores(root) == ["tests/x.py:1: an ignore names the code that it ignores"]


def test_an_ignore_with_a_code_and_a_string_that_holds_one_are_fine(plant: Plant) -> None:
    root = plant("tests/x.py", f"x = 1  {IGNORE}[assignment]\ny = 1  {NOQA}: S101 - a test\nz = '{IGNORE}'\n")
    assert leftovers.blanket_ignores(root) == []
