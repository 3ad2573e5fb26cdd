"""A document as the gateway takes it: a form for parsing, a data URI for extraction. Units: bytes.

Raises InvalidRequestError where there is nothing to send or no telling what it is.
"""

import base64
import mimetypes
from collections.abc import Mapping
from pathlib import Path

import httpx

from ..errors import InvalidRequestError

DOCUMENT_BYTES_MAX = 50 * 1024 * 1024  # Upstage's own bound (upstage-api.md section 7, 2026-11-23)


def read_document(document: bytes | str | Path, filename: str | None) -> tuple[str, bytes]:
    """(file name, bytes) of a path, or of bytes with a name beside them."""
    if isinstance(document, bytes):
        if filename is None:
            raise InvalidRequestError("Bytes need filename=..., which tells their kind.", code="invalid_request_body")
        name, content = filename, document
    else:
        path = Path(document)
        try:
            name, content = filename or path.name, path.read_bytes()
        except OSError as error:
            text = f"The document cannot be read: {error.strerror}."
            raise InvalidRequestError(text, code="unreadable_document") from None
    if not 0 < len(content) <= DOCUMENT_BYTES_MAX:
        text = f"A document has 1 to {DOCUMENT_BYTES_MAX} bytes; this one has {len(content)}."
        raise InvalidRequestError(text, code="invalid_request_body")
    return name, content


def to_wire_form(name: str, content: bytes, fields: Mapping[str, str]) -> tuple[bytes, str]:
    """(body, content type) of a form with the document and some fields."""
    request = httpx.Request("POST", "http://form", data=dict(fields), files={"document": (name, content)})
    return request.read(), request.headers["content-type"]


def to_wire_data_uri(name: str, content: bytes) -> str:
    kind = mimetypes.guess_type(name)[0] or "application/octet-stream"
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"
