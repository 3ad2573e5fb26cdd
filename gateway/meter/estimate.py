"""Counts where upstream's own are not (yet) known. Pure. Units: tokens, bytes.

An upper bound must hold for any tokenizer with byte fallback: it never makes more tokens than there are bytes, and each message's
JSON is longer than what a chat template adds for it. It was measured against real tokenizers (learned.py): it is 1.8 to 4.9 times the true
count, and still the better one, because no other tokenizer bounds Solar's. Nor does a prompt have more tokens than its model's window,
because Solar refuses such (sizes.py). The best guess is four bytes a token: English has about four, a Korean
syllable (three bytes) is 0.6–0.75 tokens in tokenizers of 2024–2026.
"""

from __future__ import annotations

_TEMPLATE_TOKENS_MAX = 256
"""Tools and system framing that a chat template adds of its own."""

_BYTES_PER_TOKEN = 4


def prompt_tokens_max(body_bytes: int, window_tokens: int | None = None) -> int:
    """No prompt in a body of so many bytes has more tokens; nor does one of a model with this window, where it is known."""
    by_bytes = body_bytes + _TEMPLATE_TOKENS_MAX
    return by_bytes if window_tokens is None else min(by_bytes, window_tokens)


def prompt_tokens_best(body_bytes: int) -> int:
    """The likely count of a prompt in a body of so many bytes."""
    return -(-body_bytes // _BYTES_PER_TOKEN)


def output_tokens_best(event_count: int, text_bytes: int) -> int:
    """The likely count of a broken stream: Solar sends one token an event; never less than its bytes suggest."""
    return max(event_count, -(-text_bytes // (2 * _BYTES_PER_TOKEN)))
