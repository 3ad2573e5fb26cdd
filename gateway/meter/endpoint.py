"""What tells one metered endpoint from another: a small value, never a second journey. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from gateway.meter.sanitize import CHAT_RULES, MESSAGES_RULES, NO_RULES, RESPONSES_RULES, Rules
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
    markers: tuple[bytes, ...] = ()

    @classmethod
    def make(cls, name: str, path: str, wire: Wire, rules: Rules = NO_RULES, *, streams: bool = False) -> Endpoint:
        """An endpoint that makes tokens, with what its rules look for worked out once."""
        return cls(name, path, wire, rules=rules, streams=streams, markers=rules.markers)


CHAT = Endpoint.make("chat", "/chat/completions", CHAT_WIRE, CHAT_RULES, streams=True)
RESPONSES = Endpoint.make("responses", "/responses", RESPONSES_WIRE, RESPONSES_RULES, streams=True)
MESSAGES = Endpoint.make("messages", "/messages", MESSAGES_WIRE, MESSAGES_RULES, streams=True)
EMBEDDINGS = Endpoint("embeddings", "/embeddings", EMBEDDINGS_WIRE, Counts.PROMPT)
DECIDE = Endpoint("systemone", "/systemone", DECIDE_WIRE)
DOCUMENTS = Endpoint("document-digitization", "/document-digitization", PAGES_WIRE, Counts.PAGES, takes=Takes.FORM)
EXTRACTION = Endpoint("information-extraction", "/information-extraction", PAGES_WIRE, Counts.PAGES)
