"""Keys, addresses and the clients behind `solar_sdk.chat`: said clearly when missing, never shown, never shared wrongly."""

import asyncio
import importlib.metadata
import logging
import pickle
import subprocess
import sys
import traceback
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

import solar_sdk
from solar_sdk import AsyncSolar, Solar
from solar_sdk.core.call import SDK_VERSION
from solar_sdk.core.settings import ApiKey
from solar_sdk.network.transport import environment_proxy

from .answers import TALE, completion
from .conftest import KEY
from .true_server import TrueServer, error, stream, whole

FORK = """
import os, sys, solar_sdk
solar_sdk.chat("parent")
child = os.fork()
if child == 0:
    solar_sdk.chat("child")
    os._exit(0)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
solar_sdk.chat("parent again")
"""


def test_the_public_names_are_exactly_these() -> None:
    assert solar_sdk.__all__ == [
        "Account", "AsyncCompletionStream", "AsyncSolar", "AsyncStream", "AuthenticationError",
        "BudgetExceededError", "CallFacts", "CallOptions", "ChatCompletion", "ChatCompletionChunk", "ChatOptions",
        "CompletionStream", "ConfigurationError", "DeadlineExceededError", "Document", "Embeddings",
        "IdempotencyConflictError", "InvalidRequestError", "Invoice", "InvoiceLine", "Limits",
        "MalformedAnswerError", "Meter", "MeterBudgetError", "Model", "MonthToDate", "NotFoundError", "Observer",
        "Page", "Parsed", "PermissionDeniedError", "RateLimitError", "RawAnswer", "Reply", "RequestTooLargeError",
        "ResponseReply", "ServerError", "Share", "Solar", "SolarError", "Stream", "StreamInterruptedError", "Sums",
        "ToolCall", "TransportError", "UpstreamError", "Usage", "UsageReport", "UsageRow", "achat", "chat",
        "configure", "meter",
    ]  # fmt: skip
    assert all(hasattr(solar_sdk, name) for name in solar_sdk.__all__)


def test_the_version_that_is_told_is_that_of_the_package() -> None:
    assert importlib.metadata.version("solar-sdk") == SDK_VERSION


def test_every_error_is_drawn_in_the_tree_and_comes_from_its_root() -> None:
    tree = solar_sdk.errors.__doc__ or ""
    errors = [value for value in vars(solar_sdk.errors).values() if isinstance(value, type)]
    assert all(issubclass(kind, solar_sdk.SolarError) and kind.__name__ in tree for kind in errors)
    assert {kind.__name__ for kind in errors} <= set(solar_sdk.__all__)


def test_a_missing_key_is_an_error_that_says_what_to_do() -> None:
    with pytest.raises(solar_sdk.ConfigurationError, match=r"SOLAR_API_KEY.*configure"):
        solar_sdk.chat("?")


@pytest.mark.parametrize(
    ("given", "used"),
    [
        ("http://h:1", "http://h:1/v1"),
        ("http://h:1/", "http://h:1/v1"),
        ("http://h:1/v1/", "http://h:1/v1"),
        ("https://h/solar/v1", "https://h/solar/v1"),
        (None, "http://127.0.0.1:8080/v1"),
    ],
)
def test_the_address_ends_in_v1(given: str | None, used: str) -> None:
    assert repr(Solar(KEY, given)) == f"Solar(base_url={used!r})"


@pytest.mark.parametrize("address", ["h:1", "ftp://h", "http://", "http://h?x=1", "http://me:secret@h"])
def test_an_impossible_address_is_refused_without_showing_secrets(address: str) -> None:
    with pytest.raises(solar_sdk.ConfigurationError) as caught:
        Solar(KEY, address)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("arguments", [{"timeout_s": 0}, {"timeout_s": float("nan")}, {"max_retries": -1}])
def test_impossible_settings_are_refused(arguments: dict[str, int]) -> None:
    with pytest.raises(solar_sdk.ConfigurationError):
        Solar(KEY, **arguments)  # type: ignore[arg-type]


@pytest.mark.parametrize("key", ["sk-solar-se cret", "sk-solar-sécret", "sk-solar-sec\nret"])
def test_a_key_that_no_header_can_carry_is_refused_unseen(key: str) -> None:
    with pytest.raises(solar_sdk.ConfigurationError) as caught:
        Solar(key)
    assert "sk-solar" not in "".join(traceback.format_exception(caught.value)[-1:])


def test_a_key_is_in_no_repr_and_no_pickle() -> None:
    client = Solar(KEY)
    assert KEY not in f"{client!r} {client._settings!r} {ApiKey(KEY)} {AsyncSolar(KEY)!r} {vars(client)}"
    with pytest.raises(TypeError):
        pickle.dumps(ApiKey(KEY))


def test_a_key_is_in_no_log_and_no_error_even_if_the_server_echoes_it(
    server: TrueServer, client: Solar, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    echo = error(401, KEY, message=f"Incorrect API key: {KEY}")
    server.play(echo, stream([f'data: {{"error": {{"message": "{KEY}"}}}}\n\n'.encode()]))
    with pytest.raises(solar_sdk.AuthenticationError) as refused:
        client.chat("?")
    with pytest.raises(solar_sdk.StreamInterruptedError) as interrupted:
        list(client.chat("?", stream=True))
    assert "***" in str(refused.value)
    for caught in (refused.value, interrupted.value):
        assert KEY not in "".join(traceback.format_exception(caught))
        assert KEY not in repr(vars(caught))
    told = [record.getMessage() for record in caplog.records if record.name.startswith(("httpx", "httpcore.conn"))]
    assert told
    assert not any(KEY in message for message in told)


def test_an_error_survives_the_way_between_processes() -> None:
    sent = solar_sdk.RateLimitError("slow down", code="c", status=429, call_id="id", retry_after_s=1.5)
    came = pickle.loads(pickle.dumps(sent))  # noqa: S301
    assert (str(came), came.retry_after_s) == ("slow down (status=429, code=c, call_id=id)", 1.5)


def test_the_module_asks_with_what_the_environment_says(server: TrueServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOLAR_API_KEY", f"{KEY}\n")
    monkeypatch.setenv("SOLAR_BASE_URL", server.base_url.removesuffix("/v1"))
    server.play(whole(completion()), stream(TALE))
    assert str(solar_sdk.chat("안녕?")) == "안녕하세요!"
    assert list(solar_sdk.chat("안녕?", stream=True)) == ["안녕", "하세요"]
    assert server.requests[0].headers["authorization"] == f"Bearer {KEY}"


def test_configure_replaces_the_client_of_later_calls(server: TrueServer) -> None:
    server.play(whole(completion()), whole(completion()))
    for key in ("sk-solar-one", "sk-solar-two"):
        solar_sdk.configure(api_key=key, base_url=server.base_url)
        solar_sdk.chat("?")
    assert [request.headers["authorization"][-3:] for request in server.requests] == ["one", "two"]


def test_many_first_calls_at_once_share_one_client(server: TrueServer) -> None:
    solar_sdk.configure(api_key=KEY, base_url=server.base_url)
    server.play(*[whole(completion())] * 8)
    with ThreadPoolExecutor(8) as threads:
        assert len(list(threads.map(solar_sdk.chat, ["?"] * 8))) == 8
    clients = {id(solar_sdk.default._defaults.sync_client()) for _ in range(3)}
    assert len(clients) == 1


def test_a_forked_child_opens_its_own_connection(server: TrueServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOLAR_API_KEY", KEY)
    monkeypatch.setenv("SOLAR_BASE_URL", server.base_url)
    server.play(*[whole(completion())] * 3)
    subprocess.run([sys.executable, "-W", "error::ResourceWarning", "-c", FORK], check=True, timeout=30)
    texts = [request.json()["messages"][0]["content"] for request in server.requests]
    assert texts == ["parent", "child", "parent again"]
    assert [request.connection for request in server.requests] == [1, 2, 1]


def test_each_event_loop_has_its_own_async_client_which_ends_with_it(server: TrueServer) -> None:
    solar_sdk.configure(api_key=KEY, base_url=server.base_url)
    server.play(*[whole(completion())] * 4)

    async def twice() -> AsyncSolar:
        await solar_sdk.achat("?")
        await solar_sdk.achat("?")
        return await solar_sdk.default._defaults.async_client()

    with ThreadPoolExecutor(1) as thread:  # pytest's own loop runs in this one
        clients = [thread.submit(asyncio.run, twice()).result(10) for _ in range(2)]
    assert [request.connection for request in server.requests] == [1, 1, 2, 2]
    assert all(client._sending._http.is_closed for client in clients)
    assert solar_sdk.default._defaults._by_loop == {}


async def test_achat_streams_after_an_await(server: TrueServer) -> None:
    solar_sdk.configure(api_key=KEY, base_url=server.base_url)
    server.play(stream(TALE))
    assert [piece async for piece in await solar_sdk.achat("안녕?", stream=True)] == ["안녕", "하세요"]


def test_a_closed_client_says_that_it_is_closed() -> None:
    with Solar(KEY) as client:
        pass
    with pytest.raises(solar_sdk.ConfigurationError, match="closed"):
        client.chat("?")


def test_a_client_of_ones_own_is_used_and_left_open(server: TrueServer) -> None:
    server.play(whole(completion()), stream(TALE))
    with httpx.Client(headers={"x-team": "books"}) as own:
        with Solar(KEY, server.base_url, httpx_client=own) as client:
            client.chat("?")
            assert list(client.chat("?", stream=True)) == ["안녕", "하세요"]
        assert not own.is_closed
    assert server.requests[0].headers["x-team"] == "books"


def test_the_proxy_of_the_environment_is_used_unless_it_is_excepted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "inside.example")
    proxies = {"https": "http://proxy:3128", "all": "other:1"}
    assert environment_proxy("https://gateway.example/v1", proxies) == "http://proxy:3128"
    assert environment_proxy("http://gateway.example/v1", proxies) == "http://other:1"
    assert environment_proxy("https://inside.example/v1", proxies) is None
    assert environment_proxy("https://gateway.example/v1", {}) is None
