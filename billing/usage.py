"""What one call used: counts by kind. Pure values.

Units: tokens and pages. `input_tokens` leaves the cached ones out; `output_tokens` holds the reasoning ones, counted once
(design.md section 5.2; traps 47 and 48 are what happens otherwise).
Errors: `ValueError` for a negative count.
"""

from __future__ import annotations

import msgspec

TOKEN_KINDS = ("input", "cached_input", "output")
PAGE_KINDS = ("standard", "enhanced")
GRANT_ORDER = ("output", "input", "cached_input")
"""Within a call a grant pays for output first, then input, then cached input (design.md section 5.4)."""


class Usage(msgspec.Struct, frozen=True, gc=False):
    """Counts of one call; the same shape carries the part of them that grants paid for."""

    input_tokens: int = 0
    cached_input_tokens: int = 0
    output_tokens: int = 0
    standard_pages: int = 0
    enhanced_pages: int = 0

    def __post_init__(self) -> None:
        if (
            self.input_tokens < 0
            or self.cached_input_tokens < 0
            or self.output_tokens < 0
            or self.standard_pages < 0
            or self.enhanced_pages < 0
        ):
            raise ValueError(f"a count cannot be negative: {self}")

    @property
    def tokens(self) -> int:
        """All tokens, of whatever kind."""
        return self.input_tokens + self.cached_input_tokens + self.output_tokens

    def quantity(self, kind: str) -> int:
        """The count of one kind: `input`, `cached_input`, `output`, `standard` or `enhanced`."""
        return int(getattr(self, f"{kind}_pages" if kind in PAGE_KINDS else f"{kind}_tokens"))


NOTHING = Usage()


def less(usage: Usage, part: Usage) -> Usage:
    """What is left of counts without a part of them."""
    return Usage(*(getattr(usage, name) - getattr(part, name) for name in Usage.__struct_fields__))
