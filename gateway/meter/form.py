"""The form of a document request: which model is asked for, and how many pages the document seems to have. Pure.

The form itself goes upstream byte for byte. Errors: `InvalidRequest`.
"""

from __future__ import annotations

import io
import re

from multipart import MultipartError, MultipartParser, parse_options_header  # type: ignore[import-untyped]

from gateway.errors import InvalidRequest

_DEFAULT_MODEL = "document-parse"
_MODEL_MAX_BYTES = 1_000
_PDF_PAGE = re.compile(rb"/Type\s*/Page(?![a-zA-Z])")


def read_form(body: bytes, content_type: str) -> tuple[str, int]:
    """(the model asked for, the best guess of the document's pages)."""
    kind, options = parse_options_header(content_type)
    if kind != "multipart/form-data" or not options.get("boundary"):
        raise InvalidRequest("Send the document as multipart/form-data.", param="document")
    if content_type.lower().count("boundary=") > 1:
        raise InvalidRequest("The form names more than one boundary.", param="document")
    models: list[str] = []
    pages = 1
    limits = {"memory_limit": len(body) + 1, "spool_limit": len(body) + 1, "disk_limit": 0}
    try:
        for part in MultipartParser(io.BytesIO(body), options["boundary"], len(body), **limits):
            if part.name == "model":
                models.append(_model_of(part.raw))
            elif part.filename:
                pages = max(pages, len(_PDF_PAGE.findall(part.raw)))
    except (MultipartError, UnicodeDecodeError) as error:
        raise InvalidRequest(f"The form cannot be read: {error}.", param="document") from None
    if len(models) > 1:
        # One would be priced, the other might be served.
        raise InvalidRequest("The form names more than one model.", param="model")
    return (models[0] if models else _DEFAULT_MODEL), pages


def _model_of(field: bytes) -> str:
    """In UTF-8, whatever charset the part claims."""
    if len(field) > _MODEL_MAX_BYTES:
        raise InvalidRequest("The model's name is too long.", param="model")
    return field.decode()
