"""The tutorial is right: every example of sdk/README.md runs as it is printed, against a true server."""

import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from .answers import ACCOUNT, INVOICE, PRICE_HEADERS, ROW, SHARE, TALE, TOTAL, completion, page
from .conftest import KEY
from .true_server import TrueServer, error, stream, whole

README = Path(__file__).parents[2] / "sdk" / "README.md"
CHAT = whole(completion(), headers=PRICE_HEADERS)
EMBEDDINGS = whole({"data": [{"index": at, "embedding": [1.0]} for at in (0, 1)], "model": "m"})
USAGE = whole({"data": [ROW], "total": TOTAL, "currency": "USD", "complete": True})
VIEWS = (USAGE, whole(ACCOUNT), whole(page(INVOICE)), whole(page(SHARE)))
BOOK = whole(completion('{"title":"소년이 온다","year":2014}'))
RESPONSE = whole({"model": "m", "output": [{"type": "message", "content": [{"type": "output_text", "text": "응답"}]}]})
DOCUMENT = whole({"content": {"html": "<p>계약</p>"}, "usage": {"pages": 1}})
MODELS = whole(page({"id": "solar-pro4"}))
ANSWERS = (
    *(CHAT, CHAT, stream(TALE), CHAT, stream(TALE), BOOK, CHAT, stream(TALE), RESPONSE),
    *(CHAT, EMBEDDINGS, MODELS, *VIEWS, DOCUMENT, MODELS),
)


def test_every_example_of_the_readme_runs(
    server: TrueServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SOLAR_API_KEY", KEY)
    monkeypatch.setenv("SOLAR_BASE_URL", server.base_url)
    server.play(*ANSWERS, CHAT, CHAT, CHAT, error(402, "budget_exceeded"))
    text = README.read_text(encoding="utf-8").replace("https://gateway.example", server.base_url)
    examples = re.findall(r"```python\n(.*?)```", text.replace("sk-solar-...", KEY), re.DOTALL)
    assert len(examples) == 10
    names: dict[str, object] = {}
    with ThreadPoolExecutor(1) as thread:  # the async example starts an event loop; pytest's own runs in this thread
        for example in examples:
            thread.submit(exec, compile(example, str(README), "exec"), names).result(20)
    printed = capsys.readouterr().out
    assert "12 0.00012345 USD" in printed
    assert "안녕하세요0.00012345" in printed
    assert "소년이 온다 2014" in printed
    assert "응답" in printed
    assert "2026-000001 0.26 USD" in printed
    assert "0.49987655" in printed
    assert "2 40 24 0.00024690 0.00012345" in printed
    assert "the month's budget is used up" in printed
    assert len(server.requests) == len(ANSWERS) + 4
