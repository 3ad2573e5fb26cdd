"""What tells one metered endpoint from another: a small value, never a second journey. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum

from gateway.meter.sanitize import CHAT_RULES, MESSAGES_RULES, NEVER, NO_RULES, RESPONSES_RULES, Rules
from gateway.meter.wires import (
    CHAT_WIRE,
    DECIDE_WIRE,
    EMBEDDINGS_WIRE,
    MESSAGES_WIRE,
    PAGES_WIRE,
    RESPONSES_WIRE,
    Wire,
)


class Takes(Enum):
    """What a request's body is."""

    JSON = "a JSON object"
    FORM = "a multipart form with a document"


class Counts(Enum):
    """What is counted."""

    TOKENS = "prompt and output tokens"
    PROMPT = "prompt tokens only"
    PAGES = "pages"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A metered endpoint: its name in the ledger and in scopes, its path upstream, its wire format, and how it is counted."""

    name: str
    upstream_path: str
    wire: Wire
    counts: Counts = Counts.TOKENS
    rules: Rules = NO_RULES
    takes: Takes = Takes.JSON
    streams: bool = False
    markers: re.Pattern[bytes] = NEVER
    output_bound: str | None = None
    """The field that bounds the output, where a request may leave it out."""

    @classmethod
    def streaming(cls, name: str, path: str, wire: Wire, rules: Rules, output_bound: str | None) -> Endpoint:
        """An endpoint that makes tokens, whole or streamed, with what its rules look for worked out once."""
        return cls(name, path, wire, rules=rules, streams=True, markers=rules.markers, output_bound=output_bound)


CHAT = Endpoint.streaming("chat", "/chat/completions", CHAT_WIRE, CHAT_RULES, "max_tokens")
RESPONSES = Endpoint.streaming("responses", "/responses", RESPONSES_WIRE, RESPONSES_RULES, "max_output_tokens")
MESSAGES = Endpoint.streaming("messages", "/messages", MESSAGES_WIRE, MESSAGES_RULES, None)
EMBEDDINGS = Endpoint("embeddings", "/embeddings", EMBEDDINGS_WIRE, Counts.PROMPT)
DECIDE = Endpoint("systemone", "/systemone", DECIDE_WIRE)
DOCUMENTS = Endpoint("document-digitization", "/document-digitization", PAGES_WIRE, Counts.PAGES, takes=Takes.FORM)
EXTRACTION = Endpoint("information-extraction", "/information-extraction", PAGES_WIRE, Counts.PAGES)
ENDPOINTS = (CHAT, RESPONSES, MESSAGES, EMBEDDINGS, DECIDE, DOCUMENTS, EXTRACTION)
