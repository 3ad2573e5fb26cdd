"""A true server and clients pointed at it, fresh for each test; no setting of the machine reaches the SDK."""

from collections.abc import AsyncIterator, Iterator

import pytest

import solar_sdk

from .true_server import TrueServer

KEY = "sk-solar-test-0123456789abcdef"


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in ("SOLAR_API_KEY", "SOLAR_BASE_URL", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    yield
    solar_sdk.configure()


@pytest.fixture
def server() -> Iterator[TrueServer]:
    with TrueServer() as running:
        yield running


@pytest.fixture
def client(server: TrueServer) -> Iterator[solar_sdk.Solar]:
    with solar_sdk.Solar(KEY, server.base_url, timeout_s=20) as made:
        yield made


@pytest.fixture
async def async_client(server: TrueServer) -> AsyncIterator[solar_sdk.AsyncSolar]:
    async with solar_sdk.AsyncSolar(KEY, server.base_url, timeout_s=20) as made:
        yield made
