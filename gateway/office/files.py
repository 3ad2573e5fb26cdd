"""Files that finance takes away: which form a request asks for, and the answer that is saved under a name. Errors: `NotAcceptable`."""

from __future__ import annotations

from typing import Any

from litestar import Request, Response

from gateway.edge.finance import NotAcceptable

JSON, CSV, PDF = "application/json", "text/csv", "application/pdf"
XLSX = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"


def wanted_form(request: Request[Any, Any, Any], *forms: str) -> str:
    """The form that the Accept header asks for; the first of `forms` where it does not care. Raises `NotAcceptable`."""
    form = request.accept.best_match(list(forms))
    if form is None:
        raise NotAcceptable(f"This can be had as {', '.join(forms)}.")
    return form


def file_answer(content: bytes | str, form: str, name: str) -> Response[bytes | str]:
    """A file to take away, under a name; text is UTF-8, which the framework adds to its type."""
    return Response(content, media_type=form, headers={"content-disposition": f'attachment; filename="{name}"'})
