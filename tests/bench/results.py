"""RESULTS.md: tables of the main bench, blocks of its long runs, and what is written by hand; each is replaced without the others.

Pure: text goes in, text comes out.
"""

from __future__ import annotations

from collections.abc import Sequence

from tests.bench.report import Part

OPENING = "# What a call costs\n\nWritten by `python -m tests.bench --write`; what stands below the last heading is written by hand.\n\n"
LONG = "## Other runs, each of its own day\n"
BY_HAND = "## What was tried, and what the floor of each part is\n"
_BLOCK = "\n### "


def with_tables(text: str, tables: str) -> str:
    """The file with the main bench's tables, and all else as it was."""
    _, blocks, by_hand = _taken_apart(text)
    return _put_together(tables, blocks, by_hand)


def with_block(text: str, name: str, facts: Sequence[str], parts: Sequence[Part]) -> str:
    """The file with one long run's block, in the place of the last one of this name."""
    tables, blocks, by_hand = _taken_apart(text)
    lines = [name, "", *(f"- {fact}" for fact in facts)]
    for part in parts:
        lines += ["", f"**{part.title}**", "", *([part.note, ""] if part.note else [])]
        lines += ["| " + " | ".join(cells) + " |" for cells in (part.head, ["---"] * len(part.head), *part.rows)]
    return _put_together(tables, blocks | {name: "\n".join(lines) + "\n"}, by_hand)


def _taken_apart(text: str) -> tuple[str, dict[str, str], str]:
    above, _, by_hand = text.partition(BY_HAND)
    tables, _, long = above.removeprefix(OPENING).partition(LONG)
    blocks = long.split(_BLOCK)[1:]
    return tables, {block.partition("\n")[0]: block.rstrip("\n") + "\n" for block in blocks}, by_hand


def _put_together(tables: str, blocks: dict[str, str], by_hand: str) -> str:
    long = LONG + "".join(_BLOCK + block for block in blocks.values()) + "\n" if blocks else ""
    return f"{OPENING}{tables.rstrip()}\n\n{long}{BY_HAND}{by_hand}"
