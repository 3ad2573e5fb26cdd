"""Usage blocks of every shape → counts; and what no tokenizer can exceed."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.usage import Usage
from gateway.meter.count import UsageBlock, chat_usage, messages_usage, pages_usage, read_answer, responses_usage
from gateway.meter.estimate import output_tokens_best, prompt_tokens_best, prompt_tokens_max
from gateway.sandbox.solar.mind.tokens import count, frame


def usage_of(body: bytes) -> Usage | None:
    """What a chat answer says it used."""
    answer = read_answer(body)
    return None if answer is None or answer.usage is None else chat_usage(answer.usage)


BLOCKS = {
    "plain": ('{"prompt_tokens":10,"completion_tokens":7,"total_tokens":17}', Usage(10, 0, 7)),
    "embeddings say no completion": ('{"prompt_tokens":8,"total_tokens":8}', Usage(8)),
    "completion null": ('{"prompt_tokens":8,"completion_tokens":null}', Usage(8)),
    "details absent and null": (
        '{"prompt_tokens":8,"completion_tokens":1,"prompt_tokens_details":null}',
        Usage(8, 0, 1),
    ),
    "details empty": ('{"prompt_tokens":8,"completion_tokens":1,"prompt_tokens_details":{}}', Usage(8, 0, 1)),
    "cached null": ('{"prompt_tokens":8,"prompt_tokens_details":{"cached_tokens":null}}', Usage(8)),
    "cached is part of the prompt": ('{"prompt_tokens":8,"prompt_tokens_details":{"cached_tokens":3}}', Usage(5, 3)),
    "all cached": ('{"prompt_tokens":8,"prompt_tokens_details":{"cached_tokens":8}}', Usage(0, 8)),
    "reasoning is inside the completion": (
        '{"prompt_tokens":1,"completion_tokens":90,"completion_tokens_details":{"reasoning_tokens":80}}',
        Usage(1, 0, 90),
    ),
    "explicit zeros are the truth": ('{"prompt_tokens":0,"completion_tokens":0}', Usage()),
    "unknown fields": ('{"prompt_tokens":1,"completion_tokens":2,"cost":"9","x":[{}]}', Usage(1, 0, 2)),
    "cached beyond the prompt": ('{"prompt_tokens":8,"prompt_tokens_details":{"cached_tokens":9}}', None),
    "negative prompt": ('{"prompt_tokens":-1,"completion_tokens":2}', None),
    "negative completion": ('{"prompt_tokens":1,"completion_tokens":-2}', None),
    "negative cached": ('{"prompt_tokens":1,"prompt_tokens_details":{"cached_tokens":-1}}', None),
    "no prompt": ('{"completion_tokens":2}', None),
    "text for a number": ('{"prompt_tokens":"8"}', None),
    "truth for a number": ('{"prompt_tokens":1,"completion_tokens":true}', None),
    "more than a ledger can hold": ('{"prompt_tokens":2147483648,"completion_tokens":2}', None),
    "more than Redis can hold": ('{"prompt_tokens":1,"completion_tokens":1' + "0" * 30 + "}", None),
    "empty": ("{}", None),
    "null": ("null", None),
    "a list": ("[]", None),
}


@pytest.mark.parametrize("name", BLOCKS)
def test_a_usage_block_gives_its_counts_or_nothing_at_all(name: str) -> None:
    block, usage = BLOCKS[name]
    assert usage_of(f'{{"model":"m","usage":{block}}}'.encode()) == usage


OTHER_BLOCKS: dict[str, tuple[Callable[[UsageBlock], Usage | None], str, Usage | None]] = {
    "responses: cached is part of the input": (
        responses_usage,
        '{"input_tokens":9,"input_tokens_details":{"cached_tokens":4},"output_tokens":7,"total_tokens":16}',
        Usage(5, 4, 7),
    ),
    "responses: reasoning is inside the output": (
        responses_usage,
        '{"input_tokens":9,"output_tokens":7,"output_tokens_details":{"reasoning_tokens":6}}',
        Usage(9, 0, 7),
    ),
    "responses: details null": (responses_usage, '{"input_tokens":9,"input_tokens_details":null}', Usage(9)),
    "responses: cached beyond the input": (
        responses_usage,
        '{"input_tokens":9,"input_tokens_details":{"cached_tokens":10}}',
        None,
    ),
    "responses: the words of chat": (responses_usage, '{"prompt_tokens":9,"completion_tokens":7}', None),
    "decide: plain": (responses_usage, '{"input_tokens":30,"output_tokens":4}', Usage(30, 0, 4)),
    "messages: cached stands beside the input": (
        messages_usage,
        '{"input_tokens":1,"cache_read_input_tokens":34,"output_tokens":12}',
        Usage(1, 34, 12),
    ),
    "messages: what was written to the cache was read once": (
        messages_usage,
        '{"input_tokens":1,"cache_creation_input_tokens":10,"cache_read_input_tokens":4,"output_tokens":2}',
        Usage(11, 4, 2),
    ),
    "messages: caches null": (
        messages_usage,
        '{"input_tokens":3,"cache_creation_input_tokens":null,"cache_read_input_tokens":null,"output_tokens":2}',
        Usage(3, 0, 2),
    ),
    "messages: output alone is no count": (messages_usage, '{"output_tokens":12}', None),
    "messages: negative cache": (messages_usage, '{"input_tokens":3,"cache_read_input_tokens":-1}', None),
    "pages: by mode": (
        pages_usage,
        '{"pages":3,"standard":[1,3],"enhanced":[2]}',
        Usage(standard_pages=2, enhanced_pages=1),
    ),
    "pages: no list means standard": (pages_usage, '{"pages":3}', Usage(standard_pages=3)),
    "pages: all enhanced": (pages_usage, '{"pages":2,"enhanced":[1,2]}', Usage(enhanced_pages=2)),
    "pages: none at all": (pages_usage, "{}", None),
    "pages: negative": (pages_usage, '{"pages":-1}', None),
}


@pytest.mark.parametrize("name", OTHER_BLOCKS)
def test_each_format_has_its_own_words_and_none_is_counted_twice(name: str) -> None:
    counted, block, usage = OTHER_BLOCKS[name]
    answer = read_answer(f'{{"usage":{block}}}'.encode())
    assert answer is not None
    assert answer.usage is not None
    assert counted(answer.usage) == usage


@given(
    st.dictionaries(st.sampled_from(["input_tokens", "output_tokens", "pages"]), st.integers(0, 9)), st.integers(0, 9)
)
def test_a_later_block_adds_to_what_is_known_and_never_takes_away(first: dict[str, int], output: int) -> None:
    joined = UsageBlock(**first).joined_with(UsageBlock(output_tokens=output))  # type: ignore[arg-type]
    assert joined == UsageBlock(**{**first, "output_tokens": output})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"not json",
        b"[]",
        b'"text"',
        b'{"model":"\xff","usage":{"prompt_tokens":1}}',
        b'{"choices":' + b"[" * 100_000,
        b'{"x":' + b"[" * 50_000 + b"]" * 50_000 + b"}",
    ],
)
def test_what_is_no_answer_is_none_and_never_an_exception(body: bytes) -> None:
    assert read_answer(body) is None
    assert usage_of(b"no object") is None


@given(st.integers(-5, 2**33), st.integers(-5, 2**33), st.none() | st.integers(-5, 2**33))
def test_no_token_is_counted_twice_or_lost(prompt: int, completion: int, cached: int | None) -> None:
    block = {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "prompt_tokens_details": {"cached_tokens": cached},
    }
    usage = usage_of(json.dumps({"usage": block}).encode())
    sane = 0 <= prompt < 2**31 and 0 <= completion < 2**31 and 0 <= (cached or 0) <= prompt
    assert (usage is not None) == sane
    if usage is not None:
        assert usage.input_tokens + usage.cached_input_tokens == prompt
        assert (usage.cached_input_tokens, usage.output_tokens) == (cached or 0, completion)


@given(st.lists(st.text(), min_size=1, max_size=12), st.booleans())
def test_the_upper_bound_is_never_below_the_count_of_the_simulator(texts: list[str], ascii_only: bool) -> None:
    messages = [{"role": "user", "content": text} for text in texts]
    body = json.dumps({"model": "solar-pro4", "messages": messages}, ensure_ascii=ascii_only, separators=(",", ":"))
    size = len(body.encode("utf-8", "surrogatepass"))
    counted = frame(sum(map(count, texts)), len(texts))
    assert prompt_tokens_max(size) >= counted
    assert 0 < prompt_tokens_best(size) <= prompt_tokens_max(size)


@given(st.text(alphabet="가나다 \n.!?a1\U0001f600", max_size=400))
def test_a_text_alone_never_has_more_tokens_than_bytes(text: str) -> None:
    assert count(text) <= len(text.encode()) <= prompt_tokens_max(len(text.encode()))


@given(st.integers(0, 10_000), st.integers(0, 1_000_000))
def test_the_best_count_of_a_broken_stream_grows_with_events_and_bytes(events: int, text_bytes: int) -> None:
    best = output_tokens_best(events, text_bytes)
    assert best >= events
    assert best <= output_tokens_best(events + 1, text_bytes + 8)
    assert output_tokens_best(0, 0) == 0
