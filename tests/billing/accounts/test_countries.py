"""A word that is no country never passes for "abroad", where there is no VAT."""

from __future__ import annotations

import pytest

from billing.accounts.countries import UnknownCountry, from_wire_country


def test_two_letters_are_a_country_however_they_are_written() -> None:
    assert [from_wire_country(text) for text in ("KR", "kr", " jp ", "De")] == ["KR", "KR", "JP", "DE"]


@pytest.mark.parametrize("text", ["Korea", "KOR", "ZZ", "", "K", "한국", "KR\n\nUS"])
def test_what_is_no_country_is_refused(text: str) -> None:
    with pytest.raises(UnknownCountry, match="no country of ISO 3166"):
        from_wire_country(text)
