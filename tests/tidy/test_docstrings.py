"""Modules say what they do, rooms say what they own."""

from tests.tidy import rules
from tests.tidy.checks import docstrings
from tests.tidy.conftest import Plant
from tests.tidy.report import none_of


def test_every_module_of_the_repository_says_what_it_does() -> None:
    none_of(docstrings.undocumented_modules(rules.ROOT))


def test_a_module_without_a_docstring_is_found(plant: Plant) -> None:
    plant("gateway/__init__.py", "")
    plant("deploy/migrations/versions/first.py", "x = 1\n")
    plant("gateway/said.py", '"""Says it."""\n')
    root = plant("gateway/mute.py", "# no docstring\nx = 1\n")
    assert docstrings.undocumented_modules(root) == ["gateway/mute.py:1: the module has no docstring"]


def test_a_package_with_code_and_no_docstring_is_found(plant: Plant) -> None:
    root = plant("tests/fakes/__init__.py", "x = 1\n")
    assert docstrings.undocumented_modules(root) == ["tests/fakes/__init__.py:1: the module has no docstring"]


def test_every_room_of_the_repository_says_what_it_owns() -> None:
    none_of(docstrings.rooms_without_owner(rules.ROOT))


def test_a_room_that_does_not_say_what_it_never_does_is_found(plant: Plant) -> None:
    root = plant("billing/share/__init__.py", '"""Owns the split of the pool."""\n')
    assert docstrings.rooms_without_owner(root) == [
        "billing/share/__init__.py:1: the room does not say what it never does"
    ]


def test_a_room_may_say_what_it_owns_in_its_readme(plant: Plant) -> None:
    plant("billing/share/README.md", "Owns the split. Never pays.\n")
    assert docstrings.rooms_without_owner(plant("billing/share/__init__.py", "")) == []
