"""What we ship tells neither addresses nor machines."""

from pathlib import Path

import pytest

from tests.tidy import rules
from tests.tidy.checks import hygiene
from tests.tidy.conftest import Plant
from tests.tidy.report import none_of


def test_no_lock_of_the_repository_holds_an_address() -> None:
    none_of(hygiene.addresses_in_locks(rules.ROOT))


@pytest.mark.parametrize("line", ["--index-url x", "--find-links wheels", "x @ https" + "://example.org/x.whl"])
def test_an_address_in_a_lock_is_found(plant: Plant, line: str) -> None:
    root = plant("requirements-model.lock", f"httpx==1 \\\n{line}\n")
    assert hygiene.addresses_in_locks(root) == ["requirements-model.lock:2: a lock holds no address"]


def test_the_repository_has_one_kind_of_lock() -> None:
    none_of(hygiene.foreign_locks(rules.ROOT))


def test_a_lock_of_another_tool_is_found(plant: Plant) -> None:
    assert hygiene.foreign_locks(plant("uv.lock", "")) == ["uv.lock:1: the lock of this project is requirements.lock"]


def test_no_file_of_the_repository_tells_where_it_was_written() -> None:
    none_of(hygiene.machine_paths(rules.ROOT))


@pytest.mark.parametrize("folder", [*rules.HOME_FOLDERS, f"{Path.home()}/"])
def test_a_folder_of_a_home_is_found(plant: Plant, folder: str) -> None:
    root = plant("deploy/run.sh", f"cd {folder}me\n")
    assert hygiene.machine_paths(root) == [f"deploy/run.sh:1: {folder} is a folder of one machine"]


def test_the_folder_that_holds_the_tree_is_found(plant: Plant, tmp_path: Path) -> None:
    root = plant("README.md", f"see file://{tmp_path.parent}/notes.md\n")
    assert hygiene.machine_paths(root) == [f"README.md:1: {tmp_path.parent}/ is a folder of one machine"]


def test_a_path_inside_an_address_is_no_folder_of_a_machine(plant: Plant) -> None:
    assert hygiene.machine_paths(plant("README.md", f"example.org{rules.HOME_FOLDERS[1]}page and $X/y\n")) == []
