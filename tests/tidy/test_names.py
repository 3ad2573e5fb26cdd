"""A name says what the thing is about; a test's name is a sentence."""

import pytest

from tests.tidy import rules
from tests.tidy.checks import names
from tests.tidy.conftest import Plant
from tests.tidy.report import none_of


def test_no_module_of_the_repository_has_an_empty_name() -> None:
    none_of(names.empty_module_names(rules.ROOT))


@pytest.mark.parametrize("name", ["gateway/utils.py", "billing/date_helpers.py", "tests/fakes/manager.py"])
def test_a_module_with_an_empty_name_is_found(plant: Plant, name: str) -> None:
    plant("gateway/commons_are_fine.py", "")
    assert names.empty_module_names(plant(name, "")) == [f"{name}:1: the name does not say what the module is about"]


def test_a_package_with_an_empty_name_is_found_once(plant: Plant) -> None:
    plant("gateway/common/one.py", "")
    root = plant("gateway/common/two.py", "")
    assert names.empty_module_names(root) == ["gateway/common:1: the name does not say what the module is about"]


def test_every_test_of_the_repository_has_a_sentence_for_a_name() -> None:
    none_of(names.terse_test_names(rules.ROOT))


def test_a_test_named_by_a_word_is_found(plant: Plant) -> None:
    root = plant(
        "tests/test_money.py", "def test_rounding(): ...\n\ndef test_half_rounds_up(): ...\n\ndef helps(): ...\n"
    )
    assert names.terse_test_names(root) == ["tests/test_money.py:1: test_rounding is no sentence"]
