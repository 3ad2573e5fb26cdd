"""POST /v1/information-extraction: a document as data URI and a schema in, chat-completion-shaped JSON out.

Known (upstage-api.md sections 1 and 3, 2026-11-23): response_format is mandatory; the reply sets both usage details, `index` and
`object` to null. Assumed: prompt tokens are 1,000 per page; one page per image, a PDF's own pages. The reply does not say how many
pages were billed; the ground truth does. Raises Refusal (400). Units: tokens, pages.
"""

import base64
import binascii
from typing import Any
from uuid import UUID

import msgspec

from gateway.sandbox.solar.call import CREATED_S, Answer, Inbound, Usage
from gateway.sandbox.solar.mind.models import EXTRACT, find_plain
from gateway.sandbox.solar.mind.schemas import value_for
from gateway.sandbox.solar.mind.tokens import count
from gateway.sandbox.solar.refusals import bad_request
from gateway.sandbox.solar.wire.documents import count_pages
from gateway.sandbox.solar.wire.fields import Fields, as_fields, decode_object

PAGE_TOKENS = 1_000


def _document(url: Any, where: str) -> bytes:
    """The bytes of a data URI."""
    head, _, data = url.partition(";base64,") if isinstance(url, str) else ("", "", "")
    if not head.startswith("data:"):
        raise bad_request(f"'{where}' must be a base64 data URI", where)
    try:
        return base64.b64decode(data, validate=True)
    except binascii.Error as broken:
        raise bad_request(f"'{where}' is not base64: {broken}", where) from broken


def _documents(request: Fields) -> tuple[list[bytes], str]:
    """Every document of the request, and the text beside them."""
    documents, texts = [], []
    for position, raw in enumerate(request.items("messages") or ()):
        content = as_fields(raw, f"messages[{position}]").values.get("content")
        for part in content if isinstance(content, list) else [{"type": "text", "text": content}]:
            where = f"messages[{position}].content"
            fields = as_fields(part, where)
            if fields.required_text("type") == "image_url":
                documents.append(_document(as_fields(part.get("image_url"), where).values.get("url"), where))
            else:
                texts.append(fields.text("text") or "")
    return documents, "".join(texts)


def answer_extraction(inbound: Inbound) -> Answer:
    """The answer to an extraction request."""
    request = Fields(decode_object(inbound.body))
    inbound.asked = request.required_text("model")
    documents, text = _documents(request)
    steer = inbound.read_steer(text)
    model = find_plain(inbound.asked, (EXTRACT,))
    if not documents:
        raise bad_request("'messages' must hold a document as image_url", "messages")
    response_format = request.inner("response_format")
    wrapper = response_format.inner("json_schema") if response_format else None
    schema = wrapper.inner("schema") if wrapper else None
    if schema is None:
        raise bad_request("'response_format' with a json_schema is a required property", "response_format")
    pages = steer.pages or sum(count_pages(document, steer) for document in documents)
    seed = inbound.digest(text, *(document.hex() for document in documents))
    content = msgspec.json.encode(value_for(schema.values, seed)).decode()
    usage = Usage(prompt=PAGE_TOKENS * pages + count(text), completion=count(content))
    body: dict[str, Any] = {
        "id": str(UUID(bytes=seed)),
        "object": None,
        "created": CREATED_S,
        "model": model.snapshot,
        "choices": [{"index": None, "message": {"role": "assistant", "content": content}, "finish_reason": "stop"}],
    }
    if not steer.no_usage:
        body["usage"] = {
            "prompt_tokens": usage.prompt,
            "completion_tokens": usage.completion,
            "total_tokens": usage.total,
            "prompt_tokens_details": None,
            "completion_tokens_details": None,
        }
    return Answer(model.snapshot, usage, whole=msgspec.json.encode(body), pages=pages, has_usage=not steer.no_usage)
