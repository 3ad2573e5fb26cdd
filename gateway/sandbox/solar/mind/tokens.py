"""Counts tokens by rule: a pure function from text to tokens, the same on every machine, without a vocabulary.

The rule, tried from the left, longest first; each match is one token:
    up to 4 ASCII letters, with one blank before them · up to 3 ASCII digits, with one blank before them ·
    up to 2 Hangul syllables, with one blank before them · up to 8 line breaks or blanks in a row · any other character.

So a token is at least one character, and a text never has more tokens than UTF-8 bytes; `split` gives the tokens
themselves, which join to the text. Framing follows LangChain's estimate (upstage-api.md, 2026-11-23): +1 at the start,
+5 per message, +3 for the assistant prefix; ours in addition: +4 per tool call. Real Solar counts differ; the simulator's
count is the truth of the simulator alone. Unit: tokens.
"""

import re

START_TOKENS = 1
MESSAGE_TOKENS = 5
PREFIX_TOKENS = 3
TOOL_CALL_TOKENS = 4

_TOKEN = re.compile(r" ?[A-Za-z]{1,4}| ?[0-9]{1,3}| ?[가-힣]{1,2}|[ \t\r\n]{1,8}|.", re.DOTALL)


def split(text: str) -> list[str]:
    """The tokens of `text`; joined they are `text` again."""
    return _TOKEN.findall(text)


def count(text: str) -> int:
    """How many tokens `text` has; never more than its UTF-8 bytes."""
    return len(_TOKEN.findall(text))


def frame(content_tokens: int, messages_count: int) -> int:
    """The prompt tokens of a conversation whose texts have `content_tokens`."""
    return START_TOKENS + content_tokens + MESSAGE_TOKENS * messages_count + PREFIX_TOKENS
