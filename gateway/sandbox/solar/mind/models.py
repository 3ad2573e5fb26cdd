"""Which models the simulated Solar knows, as data: aliases, snapshots, windows (tokens), efforts, dimensions, limits.

Source: upstage-api.md sections 2, 3, 5 and 6 (compiled 2026-11-23). Not found there, so assumed here: the window of
syn-pro, the effort names of solar-mini4 (taken from solar-pro4), the snapshot names of OCR and information extraction.
solar-pro2 is served unless it is named in `--retired`: whether it was switched off on 2026-10-30 is not known.
`find_*` raise Refusal: 400 for retired and unknown models, 404 on /v1/responses.
"""

from dataclasses import dataclass

from gateway.sandbox.solar.refusals import Refusal, bad_request

_PRO4_OFF = frozenset({"none", "minimal"})
_PRO4_ON = frozenset({"low", "medium", "high", "xhigh", "max"})
_PRO3_OFF = frozenset({"minimal", "low"})
_PRO3_ON = frozenset({"medium", "high"})
_NO_EFFORT: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class ChatModel:
    """A model that answers in words. Without effort names it does not reason; `plain_usage`: only the three totals."""

    alias: str
    snapshot: str
    context_tokens: int
    output_tokens_max: int
    efforts_off: frozenset[str] = _NO_EFFORT
    efforts_on: frozenset[str] = _NO_EFFORT
    trace_visible: bool = True
    takes_tools: bool = True
    plain_usage: bool = False
    tokens_per_minute: int = 250_000

    @property
    def can_reason(self) -> bool:
        """Whether it can reason at all."""
        return bool(self.efforts_on)


@dataclass(frozen=True, slots=True)
class EmbeddingModel:
    """A model that answers with vectors."""

    alias: str
    snapshot: str
    dimensions: int
    input_tokens_max: int
    tokens_per_minute: int = 300_000


@dataclass(frozen=True, slots=True)
class PlainModel:
    """A model known by its name alone: decisions, documents."""

    alias: str
    snapshot: str
    tokens_per_minute: int = 250_000


CHAT_MODELS = (
    ChatModel("solar-pro4", "solar-pro4-260806", 524_288, 131_072, _PRO4_OFF, _PRO4_ON),
    ChatModel("solar-mini4", "solar-mini4-260922", 524_288, 131_072, _PRO4_OFF, _PRO4_ON),
    ChatModel("solar-pro3", "solar-pro3-260323", 131_072, 32_768, _PRO3_OFF, _PRO3_ON),
    ChatModel("solar-pro2", "solar-pro2-251215", 65_536, 8_192, _PRO3_OFF, _PRO3_ON, trace_visible=False),
    ChatModel("solar-mini", "solar-mini-250422", 32_768, 4_096, plain_usage=True, tokens_per_minute=50_000),
    ChatModel("syn-pro", "syn-pro-251021", 65_536, 8_192, takes_tools=False),
)
EMBEDDING_MODELS = (
    EmbeddingModel("solar-embedding-2-query", "solar-embedding-2-query", 1_024, 8_000),
    EmbeddingModel("solar-embedding-2-passage", "solar-embedding-2-passage", 1_024, 8_000),
    EmbeddingModel("embedding-query", "solar-embedding-1-large-query", 4_096, 4_000),
    EmbeddingModel("embedding-passage", "solar-embedding-1-large-passage", 4_096, 4_000),
)
DECIDE = PlainModel("solar-decide", "solar-decide")
DOCUMENT_PARSE = PlainModel("document-parse", "document-parse-260128")
OCR = PlainModel("ocr", "ocr")
EXTRACT = PlainModel("information-extract", "information-extract")
PLAIN_MODELS = (DECIDE, DOCUMENT_PARSE, OCR, EXTRACT)

_CHAT = {name: model for model in CHAT_MODELS for name in (model.alias, model.snapshot)}
_EMBEDDING = {name: model for model in EMBEDDING_MODELS for name in (model.alias, model.snapshot)}
_PLAIN = {name: model for model in PLAIN_MODELS for name in (model.alias, model.snapshot)}


def _unsupported(name: str) -> Refusal:
    return bad_request(f"The requested model '{name}' is invalid or no longer supported.", "model")


def find_chat(name: str, retired: frozenset[str]) -> ChatModel:
    """The chat model called `name`; a retired alias retires its snapshot too."""
    model = _CHAT.get(name)
    if model is None or name in retired or model.alias in retired:
        raise _unsupported(name)
    return model


def find_embedding(name: str, retired: frozenset[str]) -> EmbeddingModel:
    """The embedding model called `name`."""
    model = _EMBEDDING.get(name)
    if model is None or name in retired or model.alias in retired:
        raise _unsupported(name)
    return model


def find_plain(name: str, allowed: tuple[PlainModel, ...]) -> PlainModel:
    """The decision or document model called `name`, if the endpoint serves it."""
    model = _PLAIN.get(name)
    if model is None or model not in allowed:
        raise _unsupported(name)
    return model


def listed_names(retired: frozenset[str]) -> list[str]:
    """What GET /v1/models names: aliases and snapshots, without sizes."""
    models = (*CHAT_MODELS, *EMBEDDING_MODELS, DECIDE)
    names = [name for model in models if model.alias not in retired for name in (model.alias, model.snapshot)]
    return list(dict.fromkeys(name for name in names if name not in retired))
