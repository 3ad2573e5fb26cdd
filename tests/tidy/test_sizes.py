"""Files, functions and rooms stay small enough to be read at one sitting."""

import pytest

from tests.tidy import rules
from tests.tidy.checks import sizes
from tests.tidy.conftest import Plant
from tests.tidy.report import none_of


def test_no_file_of_the_repository_is_too_long() -> None:
    none_of(sizes.long_files(rules.ROOT))


def test_a_file_one_line_too_long_is_found(plant: Plant) -> None:
    plant("billing/fits.py", "x = 1\n" * rules.FILE_LINES_MAX)
    root = plant("tests/too_long.py", "x = 1\n" * (rules.FILE_LINES_MAX + 1))
    assert sizes.long_files(root) == ["tests/too_long.py:401: 401 lines, 400 are allowed"]


def test_a_file_that_git_ignores_is_nobodys_business(plant: Plant) -> None:
    plant(".gitignore", "# scratch\n.venv/\n*.egg-info/\n")
    plant(".venv/lib/huge.py", "x = 1\n" * 999)
    root = plant("x.egg-info/huge.py", "x = 1\n" * 999)
    assert sizes.long_files(root) == []


def test_no_function_of_the_repository_is_too_long() -> None:
    none_of(sizes.long_functions(rules.ROOT))


@pytest.mark.parametrize("start", ["def f() -> None:", "async def f() -> None:"])
def test_a_function_one_line_too_long_is_found(plant: Plant, start: str) -> None:
    root = plant("gateway/x.py", f"{start}\n" + "    y = 1\n" * rules.FUNCTION_LINES_MAX)
    assert sizes.long_functions(root) == ["gateway/x.py:1: f has 71 lines, 70 are allowed"]


def test_the_docstring_does_not_count_as_the_length_of_a_function(plant: Plant) -> None:
    docstring = '    """' + "words\n" * 50 + '"""\n'
    root = plant("gateway/x.py", "def f() -> None:\n" + docstring + "    y = 1\n" * (rules.FUNCTION_LINES_MAX - 1))
    assert sizes.long_functions(root) == []


def test_no_folder_of_the_repository_lies_too_deep() -> None:
    none_of(sizes.deep_folders(rules.ROOT))


def test_a_room_within_a_room_is_found_unless_its_reason_is_given(plant: Plant) -> None:
    plant("gateway/edge/doors.py", "")
    plant("gateway/sandbox/solar/chat.py", "")
    root = plant("billing/invoice/lines/draft.py", "")
    assert sizes.deep_folders(root) == ["billing/invoice/lines/draft.py:1: lies deeper than a room may"]


def test_every_exception_for_depth_has_a_reason() -> None:
    assert all(len(reason.split()) > 3 for reason in rules.DEEPER_ROOMS.values())


def test_no_room_of_the_repository_is_crowded() -> None:
    none_of(sizes.full_rooms(rules.ROOT))


def test_a_crowded_room_is_found(plant: Plant) -> None:
    root = plant("billing/share/__init__.py", "")
    for number in range(rules.ROOM_FILES_MAX + 1):
        plant(f"billing/share/part_{number}.py", "")
    assert sizes.full_rooms(root) == ["billing/share:0: 13 files in one room, 12 are allowed"]
