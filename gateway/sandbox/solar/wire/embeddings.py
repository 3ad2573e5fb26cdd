"""POST /v1/embeddings: unit vectors that depend on the text alone, so query and passage models share a space.

A vector is a turn of one fixed list of numbers by an amount drawn from the text: cheap, deterministic, wrong in meaning.
Limits (upstage-api.md section 5, 2026-11-23): 100 inputs, 204,800 tokens in total, no empty or over-long input, no
`dimensions`. encoding_format base64 (little-endian float32) is served, because OpenAI's SDKs ask for it; unconfirmed.
Raises Refusal (400). Unit: tokens.
"""

import base64
import math
import struct
from hashlib import shake_128
from typing import Any

import msgspec

from gateway.sandbox.solar.call import Answer, Inbound, Usage
from gateway.sandbox.solar.mind.models import EmbeddingModel, find_embedding
from gateway.sandbox.solar.mind.tokens import count
from gateway.sandbox.solar.refusals import bad_request
from gateway.sandbox.solar.wire.fields import Fields, decode_object

INPUTS_MAX = 100
REQUEST_TOKENS_MAX = 204_800


def _fixed_numbers(dimensions: int) -> list[float]:
    raw = struct.unpack(f"<{dimensions}h", shake_128(b"solar embedding").digest(2 * dimensions))
    length = math.sqrt(sum(number * number for number in raw))
    return [round(number / length, 7) for number in raw]


_NUMBERS = {dimensions: _fixed_numbers(dimensions) for dimensions in (1_024, 4_096)}
_TEXTS = {dimensions: [repr(number) for number in numbers] for dimensions, numbers in _NUMBERS.items()}


def _vector(text: str, dimensions: int, *, packed: bool) -> bytes:
    """The vector of `text` as JSON."""
    turn = int.from_bytes(shake_128(text.encode()).digest(4), "big") % dimensions
    if packed:
        numbers = _NUMBERS[dimensions]
        floats = struct.pack(f"<{dimensions}f", *numbers[turn:], *numbers[:turn])
        return b'"' + base64.b64encode(floats) + b'"'
    texts = _TEXTS[dimensions]
    return ("[" + ",".join(texts[turn:] + texts[:turn]) + "]").encode()


def _inputs(raw: Any, model: EmbeddingModel) -> tuple[list[str], int]:
    """The texts and their tokens."""
    texts = [raw] if isinstance(raw, str) else raw
    if not isinstance(texts, list) or not texts or not all(isinstance(text, str) for text in texts):
        raise bad_request("'input' must be a string or an array of strings", "input")
    if len(texts) > INPUTS_MAX:
        raise bad_request(f"'input' has {len(texts)} texts, at most {INPUTS_MAX} are allowed", "input")
    if not all(texts):
        raise bad_request("'input' must not hold an empty string", "input")
    counts = [count(text) for text in texts]
    if max(counts) > model.input_tokens_max:
        text = f"This model's maximum context length is {model.input_tokens_max} tokens, an input has {max(counts)}"
        raise bad_request(text, "input")
    if sum(counts) > REQUEST_TOKENS_MAX:
        raise bad_request(f"'input' has {sum(counts)} tokens, at most {REQUEST_TOKENS_MAX} are allowed", "input")
    return texts, sum(counts)


def answer_embeddings(inbound: Inbound) -> Answer:
    """The answer to an embeddings request."""
    request = Fields(decode_object(inbound.body))
    inbound.asked = request.required_text("model")
    raw = request.values.get("input")
    first = raw[0] if isinstance(raw, list) and raw else raw
    steer = inbound.read_steer(first if isinstance(first, str) else "")
    model = find_embedding(inbound.asked, inbound.retired)
    if "dimensions" in request.values:
        raise bad_request("'dimensions' is not supported", "dimensions")
    encoding = request.text("encoding_format") or "float"
    if encoding not in ("float", "base64"):
        raise bad_request(f"'encoding_format' {encoding!r} is not supported", "encoding_format")
    texts, prompt_tokens = _inputs(raw, model)
    rows = [
        b'{"object":"embedding","index":%d,"embedding":%b}'
        % (index, _vector(text, model.dimensions, packed=encoding == "base64"))
        for index, text in enumerate(texts)
    ]
    tail: dict[str, Any] = {"model": model.snapshot}
    if not steer.no_usage:
        tail["usage"] = {"prompt_tokens": prompt_tokens, "total_tokens": prompt_tokens}
    whole = b'{"object":"list","data":[' + b",".join(rows) + b"]," + msgspec.json.encode(tail)[1:]
    return Answer(
        model.snapshot,
        Usage(prompt=prompt_tokens),
        whole=whole,
        has_usage=not steer.no_usage,
        tokens_per_minute=model.tokens_per_minute,
    )
