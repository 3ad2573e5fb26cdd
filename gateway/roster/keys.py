"""Which upstream keys there are, as one setting spells them. Pure.

    GATEWAY_UPSTREAM_KEYS = [NAME[*WEIGHT]=]SECRET[@BASE_ADDRESS], …        main*3=up_abc,spare=up_def@https://kr.api.upstage.ai/v1

A key without a name is called by the first letters of its hash; one without an address is used at `GATEWAY_UPSTREAM_URL`; one of weight
3 gets three times the calls of one of weight 1. Names are public: they stand in metrics, entries and lists, so they are few and short.
Errors: `ValueError`, whose words hold no secret.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field

KEYS_MAX = 64
WEIGHT_MAX = 100
_NAME = re.compile(r"(?P<name>[a-z0-9][a-z0-9_-]{0,31})(?:\*(?P<weight>[0-9]{1,3}))?=(?P<rest>.+)")
_ADDRESS = re.compile(r"(?P<secret>.+?)@(?P<url>https?://.+)")
_HASH_LETTERS = 6


@dataclass(frozen=True, slots=True)
class UpstreamKey:
    """One of our keys at one base address."""

    name: str
    secret: str = field(repr=False)
    base_url: str
    weight: int = 1


def read_roster(text: str, default_url: str) -> tuple[UpstreamKey, ...]:
    """All keys of the setting; without any, one that sends no key (a model of our own may need none)."""
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if len(parts) > KEYS_MAX:
        raise ValueError(f"holds more than {KEYS_MAX} keys")
    keys = tuple(_read_key(place, part, default_url) for place, part in enumerate(parts, 1))
    names = [key.name for key in keys]
    for place, name in enumerate(names, 1):
        if name in names[: place - 1]:
            raise ValueError(
                f"key {place} has the name {name!r} of another; give one of them a name, as in other=SECRET"
            )
    return keys or (UpstreamKey("none", "", default_url.rstrip("/")),)


def _read_key(place: int, part: str, default_url: str) -> UpstreamKey:
    named = _NAME.fullmatch(part)
    rest = part if named is None else named["rest"]
    addressed = _ADDRESS.fullmatch(rest)
    secret, url = (rest, default_url) if addressed is None else (addressed["secret"], addressed["url"])
    if not secret.isascii() or not secret.isprintable() or " " in secret:
        raise ValueError(f"key {place} has characters that no key has")
    weight = 1 if named is None or named["weight"] is None else int(named["weight"])
    if not 1 <= weight <= WEIGHT_MAX:
        raise ValueError(f"key {place} has a weight that is not from 1 to {WEIGHT_MAX}")
    digest = hashlib.sha256(f"{secret}@{url}".encode() if addressed else secret.encode()).hexdigest()
    return UpstreamKey(
        f"key-{digest[:_HASH_LETTERS]}" if named is None else named["name"], secret, url.rstrip("/"), weight
    )
