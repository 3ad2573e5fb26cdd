"""The `solar` command, as a process would run it, against a true server."""

import io
import json

import pytest

from solar_sdk.command import main

from .answers import ACCOUNT, PRICE_HEADERS, ROW, TALE, TOTAL, completion
from .conftest import KEY
from .true_server import TrueServer, error, stream, whole


@pytest.fixture(autouse=True)
def pointed(server: TrueServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOLAR_API_KEY", KEY)
    monkeypatch.setenv("SOLAR_BASE_URL", server.base_url)


def test_chat_streams_the_text_to_stdout_and_the_price_to_stderr(
    server: TrueServer, capsys: pytest.CaptureFixture[str]
) -> None:
    server.play(stream(TALE))
    assert main(["chat", "안녕?", "--system", "짧게", "--max-tokens", "9"]) == 0
    printed = capsys.readouterr()
    assert printed.out == "안녕하세요\n"
    assert "20 + 10 cached in, 12 out · 0.00012345 USD" in printed.err
    body = server.requests[0].json()
    assert [message["role"] for message in body["messages"]] == ["system", "user"]
    assert body["max_tokens"] == 9


def test_a_question_may_come_from_stdin_and_an_answer_as_json(
    server: TrueServer, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    server.play(whole(completion(), headers=PRICE_HEADERS))
    monkeypatch.setattr("sys.stdin", io.StringIO("긴 질문"))
    assert main(["chat", "-", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == completion()
    assert server.requests[0].json()["messages"] == [{"role": "user", "content": "긴 질문"}]


def test_usage_and_account_are_readable_and_have_json(server: TrueServer, capsys: pytest.CaptureFixture[str]) -> None:
    usage = {"data": [ROW], "total": TOTAL, "currency": "USD", "complete": False}
    server.play(whole(usage), whole(usage), whole(ACCOUNT), whole(ACCOUNT))
    assert main(["usage", "--from", "2026-11-01", "--to", "2026-12-01", "--by", "model"]) == 0
    printed = capsys.readouterr()
    assert "solar-pro4" in printed.out
    assert "0.27" in printed.out
    assert "not be counted yet" in printed.err
    assert "from=2026-11-01" in server.requests[0].target
    assert main(["usage", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == usage
    assert main(["account"]) == 0
    assert "1B, discount 0.20" in capsys.readouterr().out
    assert main(["account", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == ACCOUNT


def test_a_failure_is_one_line_and_an_exit_code_and_never_the_key(
    server: TrueServer, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    server.play(error(402, "budget_exceeded", message=f"no money for {KEY}"))
    assert main(["chat", "?"]) == 1
    told = capsys.readouterr().err
    assert "budget_exceeded" in told
    assert KEY not in told
    monkeypatch.delenv("SOLAR_API_KEY")
    assert main(["chat", "?"]) == 2
    assert "SOLAR_API_KEY" in capsys.readouterr().err
