"""How many prompt tokens a body has at most, learned from upstream's own counts of the same account and model. Pure.

The first bound of a prompt is its bytes (estimate.py): sound for every tokenizer, and three to five times too high. Where a budget does
not cover that, this one is tried: the highest ratio of tokens to bytes among the last `WINDOW` to 2 × `WINDOW` calls that upstream has
counted, a quarter on top. It is not proven: a prompt of another kind than those before it may have more. Nobody is charged above a cap
for that (the script's settlement sees to it); what is beyond is absorbed, ours, and counted (`solar_absorbed_nano_usd_total`): at most
what the bytes would have held, and only when a budget is near its end.

Measured 2026-11 over prompts of 50–2,000 tokens, with three real tokenizers in Solar's place (o200k, cl100k, SmolLM2's; Solar's own is
on Hugging Face, which is out of reach here). Bound ÷ true count, on average, and how many of 2,984 prompts (1,500 in the middle) had
more than their bound:
    prompts                              bytes            o200k's count × 3.3     learned
    Korean prose and messages            1.8–4.5 (0)      1.3–3.3 (5)             1.5–1.7 (0)
    English prose, documents, code       4.4–4.9 (0)      3.0–3.3 (0)             1.8–2.0 (0)
    both, with Lua and numbers in JSON   3.1–4.3 (0)      2.3–3.3 (1)             2.3–3.3 (0)
A real tokenizer is no bound for another: counts of the same Korean text differ by up to 1.6 (o200k, cl100k) and 3.6 (o200k, SmolLM2's), so
that much must be put on top; it also costs 75 MiB a worker (bpe-openai 0.1.4). Bytes stay the first bound, and this is the second.
Units: tokens; a ratio is tokens by the guess of `prompt_tokens_best`. Bounds: `entries_max` pairs are known; the one unused for longest
goes.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

WINDOW = 64
CALLS_MIN = 16
"""So many must have been counted before anything is said."""
_MARGIN = 1.25
_TEMPLATE_TOKENS = 64
"""What tools and system framing may add that is not in the ratio of longer prompts."""


@dataclass(slots=True)
class _Seen:
    """The highest ratio of the block under way and of the one before it."""

    calls: int = 0
    in_block: int = 0
    highest: float = 0.0
    highest_before: float = 0.0


class PromptRatios:
    """What one worker has learned."""

    def __init__(self, *, entries_max: int) -> None:
        self._entries_max = entries_max
        self._seen: OrderedDict[tuple[str, str], _Seen] = OrderedDict()

    def learn(self, account_id: str, model: str, best_tokens: int, counted_tokens: int) -> None:
        """Upstream counted a prompt that was guessed at `best_tokens`."""
        if best_tokens <= 0 or counted_tokens <= 0:
            return
        key = account_id, model
        seen = self._seen.get(key)
        if seen is None:
            seen = self._seen[key] = _Seen()
            if len(self._seen) > self._entries_max:
                self._seen.popitem(last=False)
        else:
            self._seen.move_to_end(key)
        if seen.in_block >= WINDOW:
            seen.highest_before, seen.highest, seen.in_block = seen.highest, 0.0, 0
        seen.calls, seen.in_block = seen.calls + 1, seen.in_block + 1
        seen.highest = max(seen.highest, counted_tokens / best_tokens)

    def bound(self, account_id: str, model: str, best_tokens: int) -> int | None:
        """At most so many tokens, going by what was learned; None where that is too little."""
        seen = self._seen.get((account_id, model))
        if seen is None or seen.calls < CALLS_MIN:
            return None
        return _TEMPLATE_TOKENS + int(_MARGIN * max(seen.highest, seen.highest_before) * best_tokens) + 1
