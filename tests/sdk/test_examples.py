"""The examples run as they are: the batch is resumable, the web application streams, a grounded answer names given sources."""

import asyncio
import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType

import pytest
from litestar.testing import TestClient

from solar_sdk import Solar

from .answers import TALE, completion
from .conftest import KEY
from .true_server import Act, TrueServer, error, stream, whole

EXAMPLES = Path(__file__).parents[2] / "sdk" / "examples"


@pytest.fixture(autouse=True)
def pointed(server: TrueServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOLAR_API_KEY", KEY)
    monkeypatch.setenv("SOLAR_BASE_URL", server.base_url)


def example(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"example_{name}", EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def run_batch(prompts: Path, answers: Path) -> int:
    module = example("batch")
    failed: int = asyncio.run(module.run(module.lines_of(prompts), prompts.name, answers, 3, "solar-mini4"))
    return failed


def test_a_batch_that_was_stopped_asks_only_what_has_no_answer(server: TrueServer, tmp_path: Path) -> None:
    prompts, answers = tmp_path / "prompts.txt", tmp_path / "answers.jsonl"
    prompts.write_text("\n".join(f"질문 {number}" for number in range(10)))
    server.play(*[whole(completion())] * 6, *[error(400, "invalid_request_body")] * 4)
    assert run_batch(prompts, answers) == 4
    with answers.open("a") as cut_off:
        cut_off.write('{"line": 9, "te')
        cut_off.write("\n")
    server.play(*[whole(completion())] * 4)
    assert run_batch(prompts, answers) == 0
    rows = [json.loads(text) for text in answers.read_text().splitlines() if text.endswith("}")]
    assert sorted(row["line"] for row in rows if "text" in row) == list(range(10))
    keys = [request.headers["idempotency-key"] for request in server.requests]
    assert len(keys) == 14
    assert len(set(keys)) == 10  # a line asked again carries the key that it had


def test_the_web_application_streams_and_tells_a_full_budget_in_words(server: TrueServer) -> None:
    server.play(stream(TALE), error(402, "budget_exceeded"))
    with TestClient(example("web_app").app) as client:
        assert client.get("/ask", params={"question": "안녕?"}).text == "안녕하세요"
        assert "예산" in client.get("/ask", params={"question": "안녕?"}).text


def embedded(*vectors: list[float]) -> Act:
    return whole({"model": "m", "data": [{"index": at, "embedding": vector} for at, vector in enumerate(vectors)]})


def grounded(answer: str, sources: list[int]) -> Act:
    return whole(completion(json.dumps({"answer": answer, "sources": sources})))


def test_a_grounded_answer_names_its_sources(server: TrueServer) -> None:
    module = example("grounded")
    passages = [module.Passage("a.txt", "졸음을 부른다"), module.Passage("b.txt", "냉장 보관")]
    server.play(embedded([1.0, 0.0]), embedded([0.9, 0.1], [0.0, 1.0]), grounded("운전하지 마십시오.", [1]))
    with Solar() as client:
        near = module.nearest(client, "운전해도 되나요?", passages, 1)
        assert near == [passages[0]]
        assert module.answer(client, "운전해도 되나요?", near) == ("운전하지 마십시오.", ["a.txt"])
    assert "[1] 졸음을 부른다" in server.requests[2].json()["messages"][1]["content"]


@pytest.mark.parametrize(("answer", "sources"), [("", [1]), ("모릅니다", []), ("지어낸 답", [7])])
def test_an_answer_without_a_given_source_is_not_shown(server: TrueServer, answer: str, sources: list[int]) -> None:
    module = example("grounded")
    server.play(grounded(answer, sources))
    with Solar() as client:
        assert module.answer(client, "?", [module.Passage("a.txt", "…")]) is None


def test_long_texts_are_cut_at_their_paragraphs_and_nothing_is_lost() -> None:
    module = example("grounded")
    text = "\n\n".join("가" * 250 for _ in range(7))
    passages = module.passages_of("a.txt", text)
    assert [len(passage.text) for passage in passages] == [501, 501, 501, 250]
