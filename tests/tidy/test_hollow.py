"""Every test can fail, and none waits by sleeping."""

import pytest

from tests.tidy import rules
from tests.tidy.checks import hollow
from tests.tidy.conftest import Plant
from tests.tidy.report import none_of


def test_no_test_of_the_repository_is_skipped() -> None:
    none_of(hollow.skipped_tests(rules.ROOT))


@pytest.mark.parametrize(
    "line",
    [
        "pytest.skip('no database')",
        "mark = pytest.mark.xfail(reason='sometimes')",
        "pytestmark = pytest.mark.skipif",
        "redis = pytest.importorskip('redis')",
        "from pytest import skip",
    ],
)
def test_a_skipped_test_is_found(plant: Plant, line: str) -> None:
    assert hollow.skipped_tests(plant("tests/x.py", f"{line}\n")) == ["tests/x.py:1: a skipped check is a defect"]


def test_no_test_of_the_repository_asserts_a_constant() -> None:
    none_of(hollow.asserted_constants(rules.ROOT))


@pytest.mark.parametrize("line", ["assert True", "assert 'words'", "assert (x == 1, 'a tuple')"])
def test_an_assertion_that_always_holds_is_found(plant: Plant, line: str) -> None:
    assert hollow.asserted_constants(plant("tests/x.py", f"{line}\n")) == ["tests/x.py:1: asserts what is always true"]


def test_an_assertion_that_can_fail_is_fine(plant: Plant) -> None:
    assert hollow.asserted_constants(plant("tests/x.py", "assert x, 'why'\nassert not ()\n")) == []


def test_nothing_in_the_repository_sleeps_and_hopes() -> None:
    none_of(hollow.blocking_sleeps(rules.ROOT))


@pytest.mark.parametrize("line", ["time.sleep(1)", "from time import monotonic, sleep", "nap = time.sleep"])
def test_a_blocking_sleep_is_found(plant: Plant, line: str) -> None:
    plant("tests/waiting.py", f"{line}\n")
    root = plant("sdk/solar_sdk/x.py", f"{line}\n")
    assert hollow.blocking_sleeps(root) == ["sdk/solar_sdk/x.py:1: a blocking sleep hopes; wait for the thing itself"]
