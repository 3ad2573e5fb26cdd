"""The wire formats beside chat and embeddings: responses, messages, decisions, documents, extraction."""

import base64
import json
from typing import Any

import pytest

from tests.gateway.sandbox.conftest import KEY, Solar

PDF = b"%PDF-1.7 /Type /Pages /Type /Page /Type/Page"
CHOICE = {"type": "choice", "instructions": "which?", "criteria": {"yes": "it is", "no": "it is not"}}
TOOL = {"name": "look", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}}
SCHEMA = {
    "type": "json_schema",
    "json_schema": {"name": "n", "schema": {"type": "object", "properties": {"a": {"type": "string"}}}},
}


def _events(body: str) -> list[dict[str, Any]]:
    return [json.loads(line[6:]) for line in body.splitlines() if line.startswith("data: ")]


@pytest.mark.parametrize(
    ("change", "status", "code"),
    [
        ({"previous_response_id": "r"}, 400, "invalid_request_body"),
        ({"conversation": "c"}, 400, "invalid_request_body"),
        ({"background": True}, 400, "invalid_request_body"),
        ({"store": True}, 400, "invalid_request_body"),
        ({"input": [{"role": "user", "content": [{"type": "input_image"}]}]}, 400, "invalid_request_body"),
        ({"model": "solar-open2"}, 404, "model_not_found"),
        ({"model": "solar-mini", "max_output_tokens": 40_000}, 400, "context_length_exceeded"),
        ({"store": False, "seed": 1, "metadata": {}, "truncation": "auto"}, 200, None),
        (
            {"instructions": "kurz", "input": [{"role": "user", "content": [{"type": "input_text", "text": "hi"}]}]},
            200,
            None,
        ),
    ],
)
def test_responses_are_lax_but_for_a_short_list(
    solar: Solar, change: dict[str, Any], status: int, code: str | None
) -> None:
    reply = solar.post("/v1/responses", {"model": "solar-pro4", "input": "hello", **change})
    assert reply.status_code == status, reply.text
    assert status == 200 or reply.json()["error"]["code"] == code


@pytest.mark.parametrize(
    "more", [{}, {"max_output_tokens": 4}, {"tools": [{"type": "function", **TOOL}], "tool_choice": "required"}]
)
def test_a_responses_stream_ends_in_the_whole_response(solar: Solar, more: dict[str, Any]) -> None:
    body = {"model": "solar-pro4", "input": "hello", "reasoning": {"effort": "high"}, **more}
    whole = solar.post("/v1/responses", body).json()
    events = _events(solar.post("/v1/responses", {**body, "stream": True}).text)
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    assert events[-1]["type"] == f"response.{whole['status']}"
    assert events[-1]["response"] == whole
    first, second = solar.truth()
    assert first["completion_tokens"] == second["completion_tokens"] == whole["usage"]["output_tokens"]
    assert first["reasoning_tokens"] == second["reasoning_tokens"] > 0
    text = "".join(event["delta"] for event in events if event["type"] == "response.output_text.delta")
    shown = [part["text"] for item in whole["output"] if item["type"] == "message" for part in item["content"]]
    assert text == "".join(shown)


def test_messages_take_a_bearer_key_and_speak_anthropic(solar: Solar) -> None:
    body = {"model": "solar-pro4", "max_tokens": 200, "messages": [{"role": "user", "content": "hi [[sim: cached=5]]"}]}
    whole = solar.post("/v1/messages", body).json()
    assert whole["usage"]["cache_read_input_tokens"] == 5
    events = _events(solar.post("/v1/messages", {**body, "stream": True}).text)
    kinds = [event["type"] for event in events]
    assert (kinds[0], kinds[-2:]) == ("message_start", ["message_delta", "message_stop"])
    text = "".join(event["delta"]["text"] for event in events if event["type"] == "content_block_delta")
    assert text == whole["content"][0]["text"]
    assert events[-2]["usage"] == whole["usage"]
    first, second = solar.truth()
    assert first["prompt_tokens"] == whole["usage"]["input_tokens"] + 5
    assert first["completion_tokens"] == second["completion_tokens"] == whole["usage"]["output_tokens"]


def test_messages_refuse_in_anthropic_shape_and_can_think_and_call(solar: Solar) -> None:
    body = {"model": "solar-pro4", "max_tokens": 200, "messages": [{"role": "user", "content": "hi"}]}
    refused = solar.post("/v1/messages", {**body, "max_tokens": None})
    assert (refused.status_code, refused.json()["type"]) == (400, "error")
    assert refused.json()["error"] == {
        "type": "invalid_request_error",
        "code": "invalid_request_body",
        "message": "'max_tokens' is a required property",
    }
    tools = [{"name": "look", "input_schema": TOOL["parameters"]}]
    more = {"thinking": {"type": "enabled", "budget_tokens": 50}, "tools": tools, "tool_choice": {"type": "any"}}
    whole = solar.post("/v1/messages", {**body, **more}).json()
    assert [block["type"] for block in whole["content"]] == ["thinking", "tool_use"]
    assert whole["stop_reason"] == "tool_use"
    assert set(whole["content"][1]["input"]) == {"city"}


@pytest.mark.parametrize(
    ("question", "status"),
    [
        (CHOICE, 200),
        ({"type": "score", "instructions": "how much?", "criteria": ["low", "high"]}, 200),
        ({"type": "noul", "instructions": "is it?"}, 200),
        ({"type": "noul", "instructions": "is it?", "criteria": None}, 422),
        ({**CHOICE, "criteria": {str(number): "x" for number in range(27)}}, 422),
        ({**CHOICE, "criteria": {"yes": "x"}}, 422),
        ({**CHOICE, "type": "guess"}, 422),
        ({"type": "noul"}, 400),
    ],
)
def test_decisions_are_typed(solar: Solar, question: dict[str, Any], status: int) -> None:
    body = {"model": "solar-decide", "state": {"order": 5}, "questions": {"q": question}}
    reply = solar.post("/v1/systemone", body)
    assert reply.status_code == status, reply.text
    if status == 200:
        assert reply.json()["answers"]["q"]["type"] == question["type"]
        assert reply.json()["usage"]["output_tokens"] == 2


@pytest.mark.parametrize(
    ("fields", "filename", "content", "status", "pages"),
    [
        ({"model": "document-parse"}, "a.pdf", PDF, 200, [1, 2]),
        ({"model": "document-parse", "mode": "enhanced"}, "a.pdf", PDF, 200, [1, 2]),
        ({"model": "document-parse"}, "a.png", b"[[sim: pages=3]]", 200, [1, 2, 3]),
        ({"model": "document-parse", "mode": "enhanced"}, "a.png", b"[[sim: pages=21]]", 400, []),
        ({"model": "document-parse"}, "a.exe", b"x", 415, []),
        ({"model": "document-parse"}, "a.pdf", b"", 422, []),
        ({"model": "solar-pro4"}, "a.pdf", PDF, 400, []),
    ],
)
def test_documents_are_counted_in_pages(
    solar: Solar, fields: dict[str, str], filename: str, content: bytes, status: int, pages: list[int]
) -> None:
    reply = solar.http.post("/v1/document-digitization", data=fields, files={"document": (filename, content)})
    assert reply.status_code == status, reply.text
    if status == 200:
        assert reply.json()["usage"] == {"pages": len(pages), fields.get("mode", "standard"): pages}
    assert [row["pages"] for row in solar.truth()] == [len(pages)]


def test_ocr_counts_pages_and_a_form_without_a_document_is_refused(solar: Solar) -> None:
    files = {"document": ("a.pdf", PDF)}
    read = solar.http.post("/v1/document-digitization", data={"model": "ocr"}, files=files).json()
    assert read["numBilledPages"] == len(read["pages"]) == 2
    assert "boundingBox" in read["pages"][0]["words"][0]
    assert solar.http.post("/v1/document-digitization", data={"model": "ocr"}).status_code == 400
    form = {"content-type": "multipart/form-data; boundary=x", "authorization": f"Bearer {KEY}"}
    assert solar.http.post("/v1/document-digitization", content=b"--y", headers=form).status_code == 400


def test_extraction_needs_a_schema_and_answers_with_null_details(solar: Solar) -> None:
    url = "data:application/pdf;base64," + base64.b64encode(PDF).decode()
    messages = [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": url}}]}]
    body = {"model": "information-extract", "messages": messages}
    assert solar.post("/v1/information-extraction", body).status_code == 400
    reply = solar.post("/v1/information-extraction", {**body, "response_format": SCHEMA}).json()
    assert set(json.loads(reply["choices"][0]["message"]["content"])) == {"a"}
    assert (reply["object"], reply["choices"][0]["index"]) == (None, None)
    assert reply["usage"]["prompt_tokens_details"] is None
    assert [row["pages"] for row in solar.truth()] == [0, 2]
