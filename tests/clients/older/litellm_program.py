"""`litellm` as a client: of the OpenAI shapes, and of Anthropic's. Arguments: the gateway's address, a key."""

import json
import os
import sys
from typing import Any

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # else it asks the internet for a price list

import litellm  # type: ignore[import-not-found]

URL, KEY = sys.argv[1:]
BASE = f"{URL}/v1"
MESSAGES = [{"role": "user", "content": "[[sim: tokens=5 cached=4]] 안녕?"}]
TOOL = {
    "type": "function",
    "function": {
        "name": "weather",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}


def counts(usage: Any) -> list[int]:
    return [usage.prompt_tokens, usage.prompt_tokens_details.cached_tokens, usage.completion_tokens]


def chat(model: str, base: str, **more: Any) -> Any:
    return litellm.completion(model=model, messages=MESSAGES, api_key=KEY, api_base=base, num_retries=0, **more)


def text_of(chunks: list[Any]) -> str:
    return "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)


def refusal_of(**more: Any) -> list[Any]:
    try:
        chat("openai/solar-pro4", BASE, **more)
    except litellm.BadRequestError as error:
        return [error.status_code, str(error)]
    return [200, ""]


whole = chat("openai/solar-pro4", BASE)
chunks = list(chat("openai/solar-pro4", BASE, stream=True, stream_options={"include_usage": True}))
forced = chat("openai/solar-pro4", BASE, tools=[TOOL], tool_choice="required")
anthropic = chat("anthropic/solar-pro4", URL, max_tokens=64)
anthropic_chunks = list(chat("anthropic/solar-pro4", URL, max_tokens=64, stream=True))
embedded = litellm.embedding(model="openai/solar-embedding-2-query", input=["안녕", "세상"], api_key=KEY, api_base=BASE)
response = litellm.responses(model="openai/solar-pro4", input=MESSAGES[0]["content"], api_key=KEY, api_base=BASE)
seen = {
    "chat": [whole.choices[0].message.content, counts(whole.usage)],
    "stream": [text_of(chunks), counts(chunks[-1].usage)],
    "tool": [forced.choices[0].message.tool_calls[0].function.name, forced.choices[0].finish_reason],
    "messages": [anthropic.choices[0].message.content, counts(anthropic.usage)],
    "messages_stream": text_of(anthropic_chunks),
    "embeddings": [len(row["embedding"]) for row in embedded.data],
    "responses": [response.usage.input_tokens, response.usage.output_tokens],
    "seed": refusal_of(seed=7),
}
print(json.dumps(seen))
