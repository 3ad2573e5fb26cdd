"""POST /v1/document-digitization: multipart in, pages out (Document Parse and OCR).

Known (upstage-api.md sections 2 and 7, 2026-11-23): model document-parse-260128 in the reply, usage {"pages", "standard": [page
numbers]}, 50 MB a file, 100 pages (enhanced mode 20). Assumed: enhanced pages stand under `enhanced`; the OCR reply (its words use
`boundingBox`); statuses 413, 415 and 422. Pages: `pages=N` in a directive, else the page objects of a PDF, else 1.
Raises Refusal (400, 413, 415, 422). Unit: pages.
"""

import io
import re
from typing import Any

import msgspec
from multipart import MultipartError, MultipartParser, parse_options_header  # type: ignore[import-untyped]  # Litestar's

from gateway.sandbox.solar.call import Answer, Inbound, Usage
from gateway.sandbox.solar.directives import Steer
from gateway.sandbox.solar.mind.models import DOCUMENT_PARSE, OCR, find_plain
from gateway.sandbox.solar.refusals import INVALID_BODY, Refusal, bad_request

FILE_BYTES_MAX = 52_428_800
PAGES_MAX = {"standard": 100, "enhanced": 20}
_FIELD_BYTES_MAX = 1_000_000
_KINDS = ["jpg", "jpeg", "png", "bmp", "pdf", "tiff", "tif", "heic", "docx", "pptx", "xlsx", "hwp", "hwpx"]
_PDF_PAGE = re.compile(rb"/Type\s*/Page(?![a-zA-Z])")


def read_form(inbound: Inbound) -> tuple[dict[str, str], bytes, str]:
    """The text fields, the document's bytes and its file name."""
    kind, options = parse_options_header(inbound.content_type)
    if kind != "multipart/form-data" or not options.get("boundary"):
        raise bad_request("the body must be multipart/form-data", "document")
    fields: dict[str, str] = {}
    document, filename = b"", ""
    try:
        limits = {"memory_limit": FILE_BYTES_MAX * 2, "spool_limit": FILE_BYTES_MAX * 2, "disk_limit": 0}
        for part in MultipartParser(io.BytesIO(inbound.body), options["boundary"], len(inbound.body), **limits):
            if part.filename:
                if part.name == "document":
                    document, filename = part.raw, part.filename
            elif len(part.raw) <= _FIELD_BYTES_MAX:
                fields[part.name] = part.value
    except MultipartError as broken:
        raise bad_request(f"the form could not be read: {broken}", "document") from broken
    return fields, document, filename


def count_pages(document: bytes, steer: Steer) -> int:
    """How many pages a document has."""
    return steer.pages or len(_PDF_PAGE.findall(document)) or 1


def _check_document(document: bytes, filename: str) -> None:
    if not filename:
        raise bad_request("'document' is a required property", "document")
    if len(document) > FILE_BYTES_MAX:
        raise Refusal(413, INVALID_BODY, f"the document is larger than {FILE_BYTES_MAX} bytes", param="document")
    if filename.rpartition(".")[2].lower() not in _KINDS:
        raise Refusal(415, None, "unsupported file format")
    if not document:
        raise Refusal(422, None, "damaged file")


def _parsed(pages: int, mode: str) -> dict[str, Any]:
    elements = [
        {
            "category": "paragraph",
            "content": {"html": f"<p id='{page}'>Page {page}</p>", "markdown": "", "text": ""},
            "coordinates": [{"x": x, "y": y} for x, y in ((0.1, 0.1), (0.9, 0.1), (0.9, 0.2), (0.1, 0.2))],
            "id": page - 1,
            "page": page,
        }
        for page in range(1, pages + 1)
    ]
    html = "\n".join(f"<p id='{page}'>Page {page}</p>" for page in range(1, pages + 1))
    return {
        "api": "2.0",
        "content": {"html": html, "markdown": "", "text": ""},
        "elements": elements,
        "model": DOCUMENT_PARSE.snapshot,
        "usage": {"pages": pages, mode: list(range(1, pages + 1))},
    }


def _recognized(pages: int) -> dict[str, Any]:
    corners = [{"x": x, "y": y} for x, y in ((10, 10), (90, 10), (90, 30), (10, 30))]
    rows = [
        {
            "id": page,
            "text": "page",
            "confidence": 0.99,
            "width": 1000,
            "height": 1400,
            "words": [{"id": 0, "text": "page", "confidence": 0.99, "boundingBox": {"vertices": corners}}],
        }
        for page in range(pages)
    ]
    return {
        "apiVersion": "1.1",
        "modelVersion": OCR.snapshot,
        "mimeType": "multipart/form-data",
        "numBilledPages": pages,
        "confidence": 0.99,
        "text": " \n".join("page" for _ in rows),
        "pages": rows,
        "metadata": {"pages": [{"page": page + 1, "width": 1000, "height": 1400} for page in range(pages)]},
        "stored": False,
    }


def answer_document(inbound: Inbound) -> Answer:
    """The answer to a digitization request."""
    fields, document, filename = read_form(inbound)
    inbound.asked = fields.get("model", "")
    steer = inbound.read_steer(document.decode("latin-1") if b"[[sim:" in document else "")
    model = find_plain(inbound.asked, (DOCUMENT_PARSE, OCR))
    _check_document(document, filename)
    mode = fields.get("mode", "standard")
    if mode not in PAGES_MAX:
        raise bad_request(f"'mode' must be one of {sorted(PAGES_MAX)}", "mode")
    pages = count_pages(document, steer)
    if pages > PAGES_MAX[mode]:
        raise bad_request(f"the document has {pages} pages, at most {PAGES_MAX[mode]} are allowed", "document")
    body = _parsed(pages, mode) if model is DOCUMENT_PARSE else _recognized(pages)
    if steer.no_usage:
        body.pop("usage", body.pop("numBilledPages", None))
    return Answer(model.snapshot, Usage(), whole=msgspec.json.encode(body), pages=pages, has_usage=not steer.no_usage)
