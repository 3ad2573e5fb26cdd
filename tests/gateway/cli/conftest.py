"""An operator's office at the gateway that all tests share."""

from __future__ import annotations

import pytest

from tests.gateway.cli.office import Office
from tests.running import Gateway


@pytest.fixture
def office(gateway: Gateway) -> Office:
    return Office(gateway)
