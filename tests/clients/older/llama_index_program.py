"""`llama-index-llms-upstage`, Upstage's integration of LlamaIndex. Arguments: the gateway's address, a key."""

import asyncio
import json
import sys
from typing import Any

from llama_index.core.llms import ChatMessage  # type: ignore[import-not-found]
from llama_index.core.tools import FunctionTool  # type: ignore[import-not-found]
from llama_index.llms.upstage import Upstage  # type: ignore[import-not-found]
from openai import BadRequestError

URL, KEY = sys.argv[1:]
ASK = "[[sim: tokens=5]] 안녕?"
MESSAGES = [ChatMessage(role="user", content=ASK)]


def solar(**more: Any) -> Any:
    """It knows the older base path, and names its models by itself: solar-pro3 is the newest of them that takes tools."""
    return Upstage(**{"model": "solar-pro3", "api_key": KEY, "api_base": f"{URL}/v1/solar", "max_retries": 0, **more})


def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


def refusal_of(**more: Any) -> list[Any]:
    try:
        solar(**more).complete(ASK)
    except BadRequestError as error:
        return [error.status_code, str(error)]
    return [200, ""]


whole = solar().chat(MESSAGES)
forced = solar().chat_with_tools([FunctionTool.from_defaults(add)], user_msg="1 + 2?", tool_required=True)
usage = whole.raw.usage
seen = {
    "chat": [whole.message.content, usage.prompt_tokens, usage.completion_tokens],
    "complete": solar(model="solar-pro4").complete(ASK).text,
    "stream": "".join(piece.delta or "" for piece in solar().stream_chat(MESSAGES)),
    "async": asyncio.run(solar().achat(MESSAGES)).message.content,
    "tool": [call.tool_name for call in solar().get_tool_calls_from_response(forced)],
    "effort": solar(model="solar-mini", reasoning_effort="high").complete(ASK).raw.usage.completion_tokens,
    "logprobs": refusal_of(logprobs=True, top_logprobs=1),
}
print(json.dumps(seen))
