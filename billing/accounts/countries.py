"""Countries by their two letters (ISO 3166-1). Pure.

A country decides whether there is VAT: a word that is none ("Korea") must not pass for "somewhere abroad". Source: `iso3166.tab` of the
time zone database, as the package `tzdata` ships it (2026). Errors: `UnknownCountry`.
"""

from __future__ import annotations

from functools import cache
from importlib import resources


class UnknownCountry(ValueError):
    """No country has these letters."""

    def __init__(self, text: str) -> None:
        super().__init__(f"{text[:40]!r} is no country of ISO 3166; write its two letters, such as KR")
        self.text = text


def from_wire_country(text: str) -> str:
    """The two letters, large; raises `UnknownCountry`."""
    letters = text.strip().upper()
    if letters not in _letters():
        raise UnknownCountry(text)
    return letters


@cache
def _letters() -> frozenset[str]:
    table = (resources.files("tzdata") / "zoneinfo" / "iso3166.tab").read_text(encoding="utf-8")
    return frozenset(line.split("\t")[0] for line in table.splitlines() if line and not line.startswith("#"))
