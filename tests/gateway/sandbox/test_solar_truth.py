"""What clients add up is what the simulator has on record; answers are functions of their requests; streams have Solar's shape."""

import json
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
from openai import OpenAI

from tests.gateway.sandbox.conftest import KEY, Solar

MODELS = ("solar-pro4", "solar-mini4", "solar-pro3", "solar-mini")


def _call(solar: Solar, number: int) -> tuple[str, dict[str, Any]]:
    """One call of one of many kinds: its snapshot and usage as the client saw them."""
    more: dict[str, Any] = {"model": MODELS[number % 4], "prompt_cache_key": "s" if number % 5 == 0 else None}
    text = f"{number} 번째 질문 " + "긴 글 " * number
    if number % 2:
        last = solar.stream(text, **more)[-1]
        return last["model"], last["usage"]
    whole = solar.chat(text, **more).json()
    return whole["model"], whole["usage"]


def test_the_truth_is_what_the_clients_summed(solar: Solar) -> None:
    with ThreadPoolExecutor(8) as pool:
        seen = list(pool.map(lambda number: _call(solar, number), range(100)))
    summed: dict[str, Counter[str]] = {}
    for snapshot, usage in seen:
        counter = summed.setdefault(snapshot, Counter())
        counter["calls"] += 1
        counter["prompt_tokens"] += usage["prompt_tokens"]
        counter["completion_tokens"] += usage["completion_tokens"]
        counter["cached_tokens"] += usage.get("prompt_tokens_details", {"cached_tokens": 0})["cached_tokens"]
    totals = solar.http.get("/_sim/totals").json()
    hidden = {row["cached_tokens"] for row in solar.truth() if row["snapshot"] == "solar-mini-250422"}
    for snapshot, counter in summed.items():
        known = totals["models"][snapshot]
        for name in ("calls", "prompt_tokens", "completion_tokens"):
            assert known[name] == counter[name], (snapshot, name)
        if snapshot != "solar-mini-250422":
            assert known["cached_tokens"] == counter["cached_tokens"] > 0
    assert max(hidden) > 0  # solar-mini caches too, and does not say so
    assert totals["total"]["served"] == totals["total"]["calls"] == 100
    assert (totals["in_flight"], totals["dropped"]) == (0, 0)


def test_the_truth_is_read_page_by_page_and_reset(solar: Solar) -> None:
    for number in range(5):
        solar.chat(f"[[sim: id=call-{number}]]")
    page = solar.http.get("/_sim/truth?after=0&limit=2").json()
    assert ([row["id"] for row in page["data"]], page["next"]) == (["call-0", "call-1"], 2)
    rest = solar.http.get("/_sim/truth?after=2").json()
    assert ([row["id"] for row in rest["data"]], rest["next"]) == (["call-2", "call-3", "call-4"], None)
    solar.http.post("/_sim/reset")
    assert solar.truth() == []


def test_the_same_request_gets_the_same_bytes_and_another_seed_others(solar: Solar) -> None:
    body = {"model": "solar-pro4", "messages": [{"role": "user", "content": "안녕하세요"}]}
    first, again, other = (
        solar.post("/v1/chat/completions", body, x_sim_seed=seed).content for seed in ("1", "1", "2")
    )
    assert first == again != other
    assert solar.post("/v1/solar/chat/completions", body, x_sim_seed="1").content == first


def test_a_stream_has_role_reasoning_content_finish_and_usage_in_this_order(solar: Solar) -> None:
    chunks = solar.stream("hello [[sim: tokens=4 reasoning=3]]", reasoning_effort="high")
    kinds = [",".join(sorted(chunk["choices"][0]["delta"])) if chunk["choices"] else "usage" for chunk in chunks]
    assert kinds == ["content,role", *["reasoning"] * 3, *["content"] * 4, "", "usage"]
    assert {chunk["model"] for chunk in chunks} == {"solar-pro4-260806"}
    assert chunks[-2]["choices"][0]["finish_reason"] == "stop"
    assert all("usage" not in chunk for chunk in chunks[:-1])
    plain = solar.chat("hello", stream=True).text
    assert '"usage"' not in plain


def test_solar_mini_reports_three_totals_and_pro2_hides_its_trace(solar: Solar) -> None:
    usage = solar.chat("hi", model="solar-mini").json()["usage"]
    assert set(usage) == {"prompt_tokens", "completion_tokens", "total_tokens"}
    hidden = solar.chat("hi", model="solar-pro2", reasoning_effort="high").json()
    assert "reasoning" not in hidden["choices"][0]["message"]
    assert hidden["usage"]["completion_tokens_details"]["reasoning_tokens"] > 0


def test_parallel_tool_calls_and_structured_output_are_valid_json(solar: Solar) -> None:
    schema = {
        "type": "object",
        "properties": {"city": {"type": "string"}, "days": {"type": "integer", "minimum": 3, "maximum": 5}},
        "required": ["city", "days"],
        "additionalProperties": False,
    }
    tools = [{"type": "function", "function": {"name": name, "parameters": schema}} for name in ("a", "b")]
    message = solar.chat("hi", tools=tools, tool_choice="required").json()["choices"][0]["message"]
    assert [call["function"]["name"] for call in message["tool_calls"]] == ["a", "b"]
    values = [json.loads(call["function"]["arguments"]) for call in message["tool_calls"]]
    one = solar.chat("hi", tools=tools, tool_choice="required", parallel_tool_calls=False).json()
    assert len(one["choices"][0]["message"]["tool_calls"]) == 1
    wanted = {"type": "json_schema", "json_schema": {"name": "n", "strict": True, "schema": schema}}
    values.append(json.loads(solar.chat("hi", response_format=wanted).json()["choices"][0]["message"]["content"]))
    assert all(set(value) == {"city", "days"} and 3 <= value["days"] <= 5 for value in values)


def test_openai_s_own_client_understands_chat_streams_and_embeddings(solar: Solar) -> None:
    with OpenAI(api_key=KEY, base_url=f"http://127.0.0.1:{solar.port}/v1", max_retries=0) as client:
        whole = client.chat.completions.create(model="solar-pro4", messages=[{"role": "user", "content": "안녕"}])
        stream = client.chat.completions.create(
            model="solar-pro4", messages=[{"role": "user", "content": "안녕"}], stream=True
        )
        text = "".join(chunk.choices[0].delta.content or "" for chunk in stream)
        packed = client.embeddings.create(model="embedding-query", input=["a", "b"])
        response = client.responses.create(model="solar-pro4", input="안녕")
        events = [event.type for event in client.responses.create(model="solar-pro4", input="안녕", stream=True)]
    assert text == whole.choices[0].message.content
    assert [len(row.embedding) for row in packed.data] == [4096, 4096]
    assert packed.data[0].embedding != packed.data[1].embedding
    assert response.usage is not None
    assert response.usage.output_tokens > 0
    assert (events[0], events[-1]) == ("response.created", "response.completed")


def test_query_and_passage_models_share_a_space(solar: Solar) -> None:
    rows = [
        solar.post("/v1/embeddings", {"model": f"solar-embedding-2-{kind}", "input": "hi"}).json()
        for kind in ("query", "passage")
    ]
    vectors = [row["data"][0]["embedding"] for row in rows]
    assert vectors[0] == vectors[1]
    assert len(vectors[0]) == 1024
    assert abs(sum(number * number for number in vectors[0]) - 1) < 1e-3
    assert rows[0]["usage"] == {"prompt_tokens": 1, "total_tokens": 1}


def test_many_clients_at_once_are_all_served(solar: Solar) -> None:
    limits = httpx.Limits(max_connections=50)
    with httpx.Client(base_url=f"http://127.0.0.1:{solar.port}", limits=limits) as client:
        headers = {"authorization": f"Bearer {KEY}"}
        body = {"model": "solar-mini4", "messages": [{"role": "user", "content": "hi [[sim: delay_ms=50]]"}]}
        with ThreadPoolExecutor(50) as pool:
            replies = list(
                pool.map(lambda _: client.post("/v1/chat/completions", json=body, headers=headers), range(100))
            )
    assert {reply.status_code for reply in replies} == {200}
    assert solar.http.get("/_sim/totals").json()["total"]["calls"] == 100
