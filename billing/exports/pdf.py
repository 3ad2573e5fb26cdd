"""PDF: the one door to typst. A template of `paper/` and values in, bytes out. Pure but for reading the templates and fonts.

The same values give the same bytes: the fonts are our own (Pretendard 1.3.9 of Kil Hyung-jin, Open Font License, from npm's
package `pretendard`, whole and unchanged: all 11,172 syllables of Hangul), none of the machine's is looked at, and the only
instant in a document is the one that is handed in. Values reach the template as JSON text, never as markup.
Errors: `PaperFault` where a template cannot be set, which is a defect of ours and not of the values.
Blocks for about 30 ms a page: on an event loop call it in a thread.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

import typst

PAPER = Path(__file__).parent / "paper"
_UNDATED = datetime(1970, 1, 1, tzinfo=UTC)


class PaperFault(RuntimeError):
    """A template and its values do not go together."""


def render(template: str, values: Mapping[str, Any], at: datetime | None = None) -> bytes:
    """The PDF of a template such as `invoice.typ`; `at` is the instant that the document says it was made at.

    What `base.typ` needs of `values`: `title`, `heading` (`ko`, `en`, `number`), `seller` and `buyer` (`name`, and `facts` as
    label-value pairs), `facts` (a list of `ko`, `en`, `value`) and `notes` (texts).
    """
    try:
        return typst.compile(
            PAPER / template,
            root=PAPER,
            font_paths=_fonts(),
            sys_inputs={"data": json.dumps(values, ensure_ascii=False)},
            timestamp=int((at or _UNDATED).timestamp()),
            pdf_standards="a-2u",
            format="pdf",
        )
    except typst.TypstError as error:
        raise PaperFault(f"{template}: {error}") from error


@lru_cache(maxsize=1)
def _fonts() -> typst.Fonts:
    return typst.Fonts(include_system_fonts=False, include_embedded_fonts=False, font_paths=[PAPER])
