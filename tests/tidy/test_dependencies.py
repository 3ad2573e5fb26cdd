"""Each dependency has its reason beside it."""

import pytest

from tests.tidy import rules
from tests.tidy.checks import dependencies
from tests.tidy.conftest import Plant
from tests.tidy.report import none_of

EXPLAINED = '[project]\nname = "x"\nversion = "1"\ndependencies = [\n  "httpx>=0.28",  # HTTP\n]\n'


def test_every_dependency_of_the_repository_has_a_reason() -> None:
    none_of(dependencies.unexplained_dependencies(rules.ROOT))


def test_a_dependency_with_a_reason_is_fine(plant: Plant) -> None:
    assert dependencies.unexplained_dependencies(plant("sdk/pyproject.toml", EXPLAINED)) == []


@pytest.mark.parametrize("table", ["dependency-groups", "project.optional-dependencies"])
def test_a_dependency_without_a_reason_is_found(plant: Plant, table: str) -> None:
    root = plant("pyproject.toml", f'{EXPLAINED}[{table}]\ndev = [\n  "ruff>=0.17",\n]\n')
    assert dependencies.unexplained_dependencies(root) == ["pyproject.toml:9: ruff>=0.17 has no reason beside it"]
