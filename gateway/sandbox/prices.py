"""The price list that a sandbox starts with: Upstage's list prices, effective 1970.

Source: upstage-api.md section 2 (2026-11-23), USD per million tokens or per page, without VAT and without promotions. Three prices are not
published and stand in: `syn-pro` is priced like solar-pro2, the embeddings of generation 2 like those of generation 1, `ocr` like parsing.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from billing.database import Session
from billing.ledger.read import calls_since
from billing.rate_cards import add_card, all_cards

EFFECTIVE = datetime(1970, 1, 1, tzinfo=UTC)

_EMBEDDING = {"input": "0.10"}

LIST_PRICES: dict[str, dict[str, Any]] = {
    "solar-pro4": {"aliases": ["solar-pro4-260806"], "input": "0.30", "cached_input": "0.06", "output": "1.20"},
    "solar-mini4": {"aliases": ["solar-mini4-260922"], "input": "0.10", "cached_input": "0.01", "output": "0.40"},
    "solar-pro3": {"aliases": ["solar-pro3-260323"], "input": "0.15", "cached_input": "0.015", "output": "0.60"},
    "solar-pro2": {"aliases": ["solar-pro2-251215"], "input": "0.15", "cached_input": "0.015", "output": "0.60"},
    "solar-mini": {"aliases": ["solar-mini-250422"], "input": "0.15", "output": "0.15"},
    "syn-pro": {"aliases": ["syn-pro-251021"], "input": "0.15", "cached_input": "0.015", "output": "0.60"},
    "solar-decide": {"aliases": ["solar-decide-260928"], "input": "0.10", "cached_input": "0.10", "output": "0"},
    "solar-embedding-2-query": _EMBEDDING,
    "solar-embedding-2-passage": _EMBEDDING,
    "embedding-query": {"aliases": ["solar-embedding-1-large-query"], **_EMBEDDING},
    "embedding-passage": {"aliases": ["solar-embedding-1-large-passage"], **_EMBEDDING},
    "document-parse": {"aliases": ["document-parse-260128"], "page": {"standard": "0.01", "enhanced": "0.03"}},
    "ocr": {"page": {"standard": "0.01"}},
    "information-extract": {"page": {"standard": "0.04"}},
}


_PRICED = ("input", "cached_input", "output", "page")


def with_buy_prices() -> dict[str, dict[str, Any]]:
    """A sandbox sells at upstream's own list prices, so its margin is what discounts and grants give away."""
    return {m: {**e, "buy": {kind: e[kind] for kind in _PRICED if kind in e}} for m, e in LIST_PRICES.items()}


async def post_list_prices(session: Session, now: datetime) -> None:
    """Post the list prices where there is no card yet."""
    if not await all_cards(session):
        await add_card(session, {"effective_at": EFFECTIVE, "models": with_buy_prices()}, calls_since, now)
