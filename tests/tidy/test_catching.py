"""No handler swallows everything."""

import pytest

from tests.tidy import rules
from tests.tidy.checks import catching
from tests.tidy.conftest import Plant
from tests.tidy.report import none_of

TRY = "try:\n    work()\n"


def test_nothing_in_the_repository_swallows_every_exception() -> None:
    none_of(catching.swallowed_exceptions(rules.ROOT))


@pytest.mark.parametrize(
    "handler",
    [
        "except:\n    pass\n",
        "except Exception:\n    log()\n",
        "except BaseException as error:\n    if x:\n        raise\n",
        "except (ValueError, Exception):\n    pass\n",
    ],
)
def test_a_handler_that_swallows_everything_is_found(plant: Plant, handler: str) -> None:
    root = plant("gateway/x.py", TRY + handler)
    assert catching.swallowed_exceptions(root) == ["gateway/x.py:3: catches everything and does not raise again"]


def test_suppressing_everything_is_found(plant: Plant) -> None:
    root = plant("sdk/solar_sdk/x.py", "with contextlib.suppress(Exception):\n    work()\n")
    assert catching.swallowed_exceptions(root) == ["sdk/solar_sdk/x.py:1: catches everything and does not raise again"]


@pytest.mark.parametrize(
    "handler",
    [
        "except ValueError:\n    pass\n",
        "except BaseException:\n    undo()\n    raise\n",
        "except Exception as error:\n    if x:\n        raise A from error\n    else:\n        raise\n",
    ],
)
def test_a_narrow_handler_and_one_that_raises_again_are_fine(plant: Plant, handler: str) -> None:
    assert catching.swallowed_exceptions(plant("gateway/x.py", TRY + handler)) == []
