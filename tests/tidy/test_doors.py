"""Each library comes in by its own door, and at the top of a file."""

import pytest

from tests.tidy import rules
from tests.tidy.checks import doors
from tests.tidy.conftest import Plant
from tests.tidy.report import none_of


def test_every_library_comes_in_by_its_own_door() -> None:
    none_of(doors.wrong_doors(rules.ROOT))


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("gateway/journey.py", "from litestar import Request"),
        ("gateway/edge/wire.py", "import httpx"),
        ("gateway/edge/inference.py", "import redis.asyncio as redis"),
        ("billing/invoice/collect.py", "import stripe"),
        ("gateway/edge/inference.py", "from prometheus_client import Counter"),
        ("billing/invoice/draft.py", "from sqlalchemy.ext.asyncio import AsyncSession"),
        ("gateway/keys/secret.py", "import sqlmodel"),
    ],
)
def test_a_library_at_another_door_is_found(plant: Plant, name: str, line: str) -> None:
    library = line.split()[1].partition(".")[0]
    assert doors.wrong_doors(plant(name, f"\n{line}\n")) == [f"{name}:2: {library} has another door"]


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("gateway/app.py", "import litestar"),
        ("sdk/solar_sdk/transport.py", "import httpx"),
        ("gateway/cli_operator.py", "import httpx"),
        ("gateway/drain/rounds.py", "import redis"),
        ("billing/stripe_client.py", "import stripe"),
        ("gateway/metrics.py", "import prometheus_client"),
        ("billing/ledger/journal.py", "import sqlmodel"),
        ("billing/club/store.py", "import sqlalchemy"),
        ("tests/fakes/upstream.py", "import litestar"),
    ],
)
def test_a_library_at_its_own_door_is_welcome(plant: Plant, name: str, line: str) -> None:
    assert doors.wrong_doors(plant(name, f"{line}\n")) == []


def test_nothing_in_the_repository_is_imported_late() -> None:
    none_of(doors.late_imports(rules.ROOT))


def test_an_import_inside_a_function_is_found(plant: Plant) -> None:
    plant("gateway/sandbox/llama.py", "def f():\n    return importlib.import_module('xllamacpp')\n")
    plant("billing/x.py", "x = __import__('json')\n")
    root = plant("tests/x.py", "async def f():\n    if x:\n        from json import loads\n")
    assert doors.late_imports(root) == ["billing/x.py:1: imports by a call", "tests/x.py:3: imports inside a function"]


def test_the_sdk_lives_on_what_it_declares() -> None:
    none_of(doors.undeclared_sdk_libraries(rules.ROOT))


def test_a_library_that_the_sdk_does_not_declare_is_found(plant: Plant) -> None:
    root = plant("sdk/solar_sdk/x.py", "import json\nimport httpx\nfrom . import y\nimport msgspec\n")
    assert doors.undeclared_sdk_libraries(root) == ["sdk/solar_sdk/x.py:4: msgspec is not among what the SDK declares"]
