"""The rest of the surface: responses, documents, raw answers, options of one call, budgets of a meter."""

import json
from decimal import Decimal
from pathlib import Path

import pytest

from solar_sdk import (
    AsyncSolar,
    BudgetExceededError,
    InvalidRequestError,
    MeterBudgetError,
    NotFoundError,
    Solar,
    TransportError,
    meter,
)

from .answers import PRICE_HEADERS, TALE, completion, event
from .conftest import KEY
from .true_server import CALL_ID, Act, Fault, TrueServer, error, stream, whole

RESPONSE = {
    "id": "r-1",
    "object": "response",
    "status": "completed",
    "model": "solar-pro4-260806",
    "output": [
        {"type": "reasoning", "summary": []},
        {"type": "message", "content": [{"type": "output_text", "text": "안녕"}, {"type": "output_text", "text": "!"}]},
    ],
    "usage": {
        "input_tokens": 30,
        "input_tokens_details": {"cached_tokens": 10},
        "output_tokens": 12,
        "output_tokens_details": {"reasoning_tokens": 5},
        "total_tokens": 42,
        "cost": "0.5",
        "currency": "USD",
    },
}
RESPONSE_TALE = (
    event({"type": "response.created", "response": {"id": "r-1"}}),
    event({"type": "response.output_text.delta", "delta": "안녕"}),
    event({"type": "response.output_text.delta", "delta": "!"}),
    event({"type": "response.completed", "response": RESPONSE}),
)
PARSED = {
    "content": {"html": "<p>1</p>", "markdown": "1", "text": "1"},
    "model": "document-parse-260128",
    "usage": {"pages": 2, "standard": [1, 2]},
}


def test_a_response_is_its_text_with_tokens_and_cost(server: TrueServer, client: Solar) -> None:
    server.play(whole(RESPONSE, headers=PRICE_HEADERS))
    reply = client.responses.create(input="안녕?", instructions="짧게", max_output_tokens=9)
    assert str(reply) == "안녕!"
    assert reply.usage is not None
    assert (reply.usage.input_tokens, reply.usage.cached_input_tokens, reply.usage.reasoning_tokens) == (20, 10, 5)
    assert (reply.status, str(reply.cost), reply.call_id) == ("completed", "0.00012345", CALL_ID)
    assert server.requests[0].json() == {
        "input": "안녕?",
        "model": "solar-pro4",
        "instructions": "짧게",
        "max_output_tokens": 9,
    }


def test_a_response_streams_as_text_or_as_events(server: TrueServer, client: Solar) -> None:
    server.play(stream(RESPONSE_TALE), stream(RESPONSE_TALE))
    with meter() as counted, client.responses.stream(input="?") as pieces:
        assert list(pieces) == ["안녕", "!"]
    assert (str(pieces.reply), pieces.reply.cost) == ("안녕!", Decimal("0.5"))
    assert (counted.output_tokens, counted.cost) == (12, Decimal("0.5"))
    kinds = [event["type"] for event in client.responses.stream(input="?").events()]
    assert kinds == ["response.created", *["response.output_text.delta"] * 2, "response.completed"]


async def test_the_async_client_streams_responses_too(server: TrueServer, async_client: AsyncSolar) -> None:
    server.play(stream(RESPONSE_TALE), whole(RESPONSE))
    pieces = await async_client.responses.stream(input="?")
    assert [piece async for piece in pieces] == ["안녕", "!"]
    assert pieces.reply.status == "completed"
    assert (await async_client.responses.create(input="?")).text == "안녕!"


def test_the_events_of_a_chat_are_its_chunks(server: TrueServer, client: Solar) -> None:
    server.play(stream(TALE))
    events = list(client.chat("?", stream=True).events())
    assert [event["object"] for event in events] == ["chat.completion.chunk"] * 5


def test_a_document_is_sent_as_a_form_and_read_as_text(server: TrueServer, client: Solar, tmp_path: Path) -> None:
    path = tmp_path / "약관.pdf"
    path.write_bytes(b"%PDF-1.7 /Type /Page")
    server.play(whole(PARSED, headers=PRICE_HEADERS), whole({"text": "page", "numBilledPages": 3}))
    read = client.parse_document(path, fields={"mode": "standard"})
    assert (read.html, read.markdown, read.pages, str(read.cost)) == ("<p>1</p>", "1", 2, "0.00012345")
    request = server.requests[0]
    assert request.target == "/v1/document-digitization"
    assert request.headers["content-type"].startswith("multipart/form-data; boundary=")
    assert b"%PDF-1.7 /Type /Page" in request.body
    assert b'name="mode"\r\n\r\nstandard' in request.body
    scanned = client.parse_document(b"bytes", filename="scan.png", model="ocr")
    assert (scanned.text, scanned.pages) == ("page", 3)


@pytest.mark.parametrize(("document", "filename"), [(b"", "a.pdf"), (b"x", None), ("/nowhere/a.pdf", None)])
def test_a_document_that_cannot_be_sent_is_refused_here(
    server: TrueServer, client: Solar, document: bytes | str, filename: str | None
) -> None:
    with pytest.raises(InvalidRequestError):
        client.parse_document(document, filename=filename)
    assert server.requests == []


def test_facts_are_extracted_by_a_schema(server: TrueServer, client: Solar) -> None:
    server.play(whole(completion('{"total":"12,000"}')))
    schema = {"type": "object", "properties": {"total": {"type": "string"}}}
    assert client.extract(b"png", schema, filename="receipt.png").value == {"total": "12,000"}
    body = server.requests[0].json()
    assert body["messages"][0]["content"][0]["image_url"]["url"] == "data:image/png;base64,cG5n"
    assert body["response_format"]["json_schema"]["schema"] == schema


def test_any_other_path_gives_the_answer_as_it_came(server: TrueServer, client: Solar) -> None:
    server.play(whole({"answers": {}}, headers={"x-new": "1"}), error(404, "not_found"))
    answer = client.request("POST", "/systemone", {"model": "solar-decide", "state": "…", "questions": {}})
    assert (answer.status, answer.json(), answer.headers["x-new"], answer.call_id) == (
        200,
        {"answers": {}},
        "1",
        CALL_ID,
    )
    with pytest.raises(NotFoundError):
        client.request("GET", "/nothing")
    with pytest.raises(InvalidRequestError):
        client.request("GET", "/../operator/v1/accounts")


def test_options_of_one_call_go_before_those_of_the_client(server: TrueServer, client: Solar) -> None:
    server.play(error(500, "x"), error(500, "x"))
    with pytest.raises(Exception, match="500"):
        client.chat("?", max_retries=0, headers={"X-Team": "a", "Authorization": "Bearer stolen"})
    assert len(server.requests) == 1
    assert server.requests[0].headers["x-team"] == "a"
    assert server.requests[0].headers["authorization"] == f"Bearer {KEY}"


# ---- a budget of one's own --------------------------------------------------------------------------------------------------


def test_a_budget_refuses_the_call_that_it_may_not_cover(server: TrueServer, client: Solar) -> None:
    server.play(*[whole(completion(), headers={"x-solar-cost": "0.4", "x-solar-currency": "USD"})] * 3)
    with meter(budget=Decimal("1"), call_cost_max=Decimal("0.4")) as counted:
        client.chat("1")
        client.chat("2")
        with pytest.raises(MeterBudgetError) as caught:
            client.chat("3")
    assert isinstance(caught.value, BudgetExceededError)
    assert counted.cost == Decimal("0.8")
    assert counted.budget_left == Decimal("0.2")
    assert len(server.requests) == 2


def test_a_failed_call_gives_its_part_of_the_budget_back_and_an_untold_one_does_not(
    server: TrueServer, client: Solar
) -> None:
    untold = stream(TALE[:2], Fault.HOLD)
    server.play(Act((Fault.RESET,)), untold)
    with meter(budget=Decimal("1"), call_cost_max=Decimal("0.4")) as counted:
        with pytest.raises(TransportError):
            client.chat("lost", max_retries=0)
        assert counted.budget_left == Decimal("1")
        left = client.chat("left early", stream=True)
        next(left)
        left.close()
        assert counted.budget_left == Decimal("0.6")
    assert counted.unmeasured_calls == 1


def test_without_a_bound_the_dearest_call_so_far_stands_for_the_next(server: TrueServer, client: Solar) -> None:
    costs = ("0.1", "0.5", "0.1")
    server.play(*[whole(completion(), headers={"x-solar-cost": cost, "x-solar-currency": "USD"}) for cost in costs])
    with meter(budget=Decimal("1")) as counted:
        client.chat("1")
        client.chat("2")
        with pytest.raises(MeterBudgetError):
            client.chat("3")
    assert counted.cost == Decimal("0.6")


def test_an_inner_budget_binds_inside_an_outer_meter(server: TrueServer, client: Solar) -> None:
    server.play(*[whole(completion(), headers={"x-solar-cost": "0.4", "x-solar-currency": "USD"})] * 2)
    with meter(budget=Decimal("10"), call_cost_max=Decimal("1")) as outer:
        with meter(budget=Decimal("0.5"), call_cost_max=Decimal("0.4")):
            client.chat("1")
            with pytest.raises(MeterBudgetError):
                client.chat("2")
        client.chat("3")
    assert outer.budget_left == Decimal("9.2")
    assert json.loads(server.requests[-1].body)["messages"][0]["content"] == "3"
