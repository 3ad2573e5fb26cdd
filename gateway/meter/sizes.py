"""What models can hold, what they were followed by, and which effort names they know. Data; tokens.

Source: upstage-api.md sections 2 and 3 (2026-11-23). Where catalogues disagree the larger figure stands, since these are upper bounds.
Upstage changes such figures within weeks: prices are in rate cards, and everything here only bounds or translates.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ModelSize:
    """Context window and longest output of a model, in tokens."""

    context_tokens: int
    output_tokens_max: int


SIZES: Mapping[str, ModelSize] = {
    "solar-pro4": ModelSize(524_288, 131_072),
    "solar-mini4": ModelSize(524_288, 131_072),
    "solar-pro3": ModelSize(131_072, 32_768),
    "solar-pro2": ModelSize(65_536, 8_192),
    "solar-mini": ModelSize(32_768, 4_096),
    "solar-decide": ModelSize(524_288, 4_096),
    "solar-embedding-2-query": ModelSize(8_192, 0),
    "solar-embedding-2-passage": ModelSize(8_192, 0),
    "embedding-query": ModelSize(4_000, 0),
    "embedding-passage": ModelSize(4_000, 0),
}
UNKNOWN_SIZE = ModelSize(131_072, 131_072)
"""For a model that only a rate card knows."""

SUCCESSORS: Mapping[str, str] = {
    "solar-pro2": "solar-pro4",
    "solar-pro2-251215": "solar-pro4",
    "solar-pro2-250909": "solar-pro4",
    "solar-pro2-250710": "solar-pro4",
    "solar-pro3-260126": "solar-pro3",
    "solar-open2": "solar-pro4",
    "solar-pro": "solar-pro4",
    "solar-1-mini-chat": "solar-mini4",
}
"""Retired models, and what to use instead: for the message of a refusal."""

_FULL = ("none", "minimal", "low", "medium", "high", "xhigh", "max")
_SHORT = ("minimal", "low", "medium", "high")
EFFORTS: Mapping[str, Sequence[str]] = {
    "solar-pro4": _FULL,
    "solar-mini4": _FULL,
    "solar-pro3": _SHORT,
    "solar-pro2": _SHORT,
    "solar-mini": (),
    "syn-pro": (),
}
"""Names of `reasoning_effort` that a model knows; a model with none refuses the field itself."""


def family_of(model: str) -> str:
    """The alias that a name or a dated snapshot belongs to: `solar-pro4-260806` → `solar-pro4`."""
    stem, _, tail = model.rpartition("-")
    return stem if stem in EFFORTS and tail.isdigit() else model


def effort_for(model: str, effort: str) -> str | None:
    """The nearest effort that a model knows; None where it knows none, or for a name that nobody knows (upstream says so)."""
    known = EFFORTS.get(family_of(model), _FULL)
    if effort in known or effort not in _FULL:
        return effort if known else None
    if not known:
        return None
    wanted = _FULL.index(effort)
    return min(known, key=lambda name: abs(_FULL.index(name) - wanted))
