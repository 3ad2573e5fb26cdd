"""Money never passes through a binary fraction."""

import pytest

from tests.tidy import rules
from tests.tidy.checks import money
from tests.tidy.conftest import Plant
from tests.tidy.report import none_of


def test_no_float_is_near_the_money_of_the_repository() -> None:
    none_of(money.floats(rules.ROOT))


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ("price: float", "the name float"),
        ("def f(x: 'float'): ...", "the name float in quotes"),
        ("x = float('0.1')", "the name float"),
        ("x = list(map(float, y))", "the name float"),
        ("x = Decimal(0.1)", "the literal 0.1"),
        ("x = -1e-6", "the literal 1e-06"),
        ("from sqlalchemy import Float", "the name Float"),
        ("c = sa.Column(sa.REAL)", "the name REAL"),
    ],
)
def test_a_float_in_billing_is_found(plant: Plant, line: str, what: str) -> None:
    assert money.floats(plant("billing/x.py", f"{line}\n")) == [f"billing/x.py:1: {what} is not exact"]


def test_a_float_column_in_a_migration_is_found(plant: Plant) -> None:
    root = plant("deploy/migrations/versions/one.py", "\nc = sa.Float()\n")
    assert money.floats(root) == ["deploy/migrations/versions/one.py:2: the name Float is not exact"]


def test_exact_numbers_and_other_rooms_are_left_alone(plant: Plant) -> None:
    plant("gateway/edge/x.py", "deadline_s: float = 1.5\n")
    root = plant("billing/x.py", "# float\nx = Decimal('0.1') + 1\ny = True\nfloating = 'afloat'\n")
    assert money.floats(root) == []
