"""The form of a document: its model, its pages, and what cannot be read. The body itself goes upstream as it came."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.errors import InvalidRequest
from gateway.meter.endpoint import DOCUMENTS, EXTRACTION
from gateway.meter.form import read_form
from gateway.meter.request import PAGES_MAX, bounds_of, read_request

KIND = "multipart/form-data; boundary=b"
MODEL = b'Content-Disposition: form-data; name="model"'
FILE = b'Content-Disposition: form-data; name="document"; filename="a.pdf"\r\nContent-Type: application/pdf'
PAGES = b"1 0 obj <</Type /Pages /Count 3>> <</Type /Page >> <</Type/Page>> <</Type\n/Page/X 1>> /Type /PageLabel"


def form(*parts: tuple[bytes, bytes]) -> bytes:
    return b"".join(b"--b\r\n%b\r\n\r\n%b\r\n" % part for part in parts) + b"--b--\r\n"


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        ([], ("document-parse", 1)),
        ([(FILE, b"not a pdf")], ("document-parse", 1)),
        ([(MODEL, b"ocr"), (FILE, PAGES)], ("ocr", 3)),
        ([(FILE, PAGES), (MODEL, b"ocr")], ("ocr", 3)),
        ([(FILE, PAGES), (FILE, b"x")], ("document-parse", 3)),
        ([(MODEL, "문서".encode())], ("문서", 1)),
        ([(MODEL + b"\r\nContent-Type: text/plain; charset=bogus", b"ocr")], ("ocr", 1)),
        ([(MODEL + b'; filename="m"', b"ocr")], ("ocr", 1)),
        ([(b'Content-Disposition: form-data; name="mode"', b"enhanced")], ("document-parse", 1)),
    ],
)
def test_a_form_tells_its_model_and_its_pages(parts: list[tuple[bytes, bytes]], expected: tuple[str, int]) -> None:
    body = form(*parts)
    assert read_form(body, KIND) == expected
    ask = read_request(DOCUMENTS, body, KIND)
    assert (ask.model, ask.pages_best) == expected
    assert ask.body is body


@pytest.mark.parametrize(
    ("body", "kind", "param"),
    [
        (form((MODEL, b"ocr"), (MODEL, b"document-parse")), KIND, "model"),
        (form((MODEL, b"ocr"), (MODEL + b'; filename="m"', b"document-parse")), KIND, "model"),
        (form((MODEL, b"m" * 1001)), KIND, "model"),
        (form((MODEL, b"\xff")), KIND, "document"),
        (form((b"X: y", b"ocr")), KIND, "document"),
        (form((MODEL, b"ocr"))[:-9], KIND, "document"),
        (b"", KIND, "document"),
        (b"{}", "application/json", "document"),
        (form(), "multipart/form-data", "document"),
        (form(), "multipart/form-data; boundary=", "document"),
        (form(), "multipart/form-data; boundary=a; boundary=b", "document"),
    ],
)
def test_a_form_that_says_two_things_or_nothing_is_refused(body: bytes, kind: str, param: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        read_form(body, kind)
    assert refused.value.param == param


@settings(max_examples=150)
@given(st.binary(max_size=60), st.text(max_size=20), st.booleans())
def test_whatever_comes_is_read_or_refused(noise: bytes, tail: str, framed: bool) -> None:
    body = form((MODEL + noise, noise), (noise, noise)) if framed else noise
    for kind in (KIND, "multipart/form-data; boundary=" + tail, tail):
        try:
            model, pages = read_form(body, kind)
        except InvalidRequest:
            continue
        assert pages >= 1
        assert isinstance(model, str)


@pytest.mark.parametrize("images", [0, 1, 3])
def test_pages_of_an_extraction_are_its_images(images: int) -> None:
    part = b'{"image_url":{"url":"data:image/png;base64,aGk="}},'
    body = b'{"model":"information-extract","messages":[%b0],"stream":true}' % (part * images)
    ask = read_request(EXTRACTION, body)
    assert (ask.pages_best, ask.streamed, ask.body) == (max(1, images), False, body)
    bounds = bounds_of(EXTRACTION, ask, 100, ask.model)
    assert (bounds.prompt_tokens_max, bounds.output_tokens_max, bounds.pages_max) == (0, 0, PAGES_MAX)
