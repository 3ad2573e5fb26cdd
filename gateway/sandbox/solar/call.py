"""The values handed between the server and the wire formats: what came in, what goes out, what is counted (tokens, pages).

A wire format is a function from Inbound to Answer, pure but for two notes it leaves on the Inbound for the ground truth
(`asked`, `steer`), so that a refusal is recorded under its model and label too. Raises nothing.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from hashlib import blake2b

from gateway.sandbox.solar.directives import Steer, parse_directive

CREATED_S = 1_795_392_000  # 2026-11-23T00:00:00Z: an answer is a function of its request, so it knows no clock


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one call. `cached` is part of `prompt`, `reasoning` part of `completion`."""

    prompt: int = 0
    cached: int = 0
    completion: int = 0
    reasoning: int = 0

    @property
    def total(self) -> int:
        """Prompt and completion."""
        return self.prompt + self.completion


@dataclass(frozen=True, slots=True)
class Event:
    """One event of a stream: its bytes, the tokens first seen in it, and its part in the protocol."""

    data: bytes
    tokens: int = 0
    reasoning: bool = False  # its tokens are reasoning
    has_usage: bool = False
    is_last: bool = False  # the mark that ends the stream; `no_done` leaves it out
    counted: bool = True  # false for [DONE], which no client library hands on


@dataclass(slots=True)
class Inbound:
    """One request that passed the key check."""

    body: bytes
    content_type: str = ""
    seed: bytes = b""
    header_words: str = ""
    retired: frozenset[str] = frozenset()
    asked: str = ""
    steer: Steer = field(default_factory=Steer)

    def read_steer(self, text: str) -> Steer:
        """Takes the directive out of the call's text and the header."""
        self.steer = parse_directive(text, self.header_words)
        return self.steer

    def digest(self, *parts: str) -> bytes:
        """16 bytes that stand for the request; the same parts and seed, the same bytes."""
        return blake2b("\x00".join(parts).encode(), key=self.seed[:64], digest_size=16).digest()


@dataclass(frozen=True, slots=True)
class Answer:
    """What the simulator says: a whole body, or the events of a stream."""

    snapshot: str
    usage: Usage
    whole: bytes = b""
    events: Iterator[Event] | None = None
    pages: int = 0
    has_usage: bool = True
    tokens_per_minute: int = 250_000
