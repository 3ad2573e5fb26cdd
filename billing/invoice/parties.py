"""Who issues an invoice and whom it is for, as it says on paper. Pure values, kept on the invoice as they were when it was issued.

Conversions: `to_row_…` and `from_row_…` (JSON objects). What is not known is empty text.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any


@dataclass(frozen=True, slots=True)
class Party:
    """A business: as its registration says."""

    name: str = ""
    registration_number: str = ""
    representative: str = ""
    address: str = ""
    business_type: str = ""
    business_item: str = ""
    email: str = ""
    country: str = ""


PARTY_DETAILS = ("representative", "address", "business_type", "business_item", "email")
"""What a business's registration says beside its name and number."""


def completed(party: Party, registered: Party) -> Party:
    """A party as a paper names it; what the paper did not know is taken from how the same business is registered now."""
    if party.registration_number and _digits(party.registration_number) != _digits(registered.registration_number):
        return party  # another business by now, or nothing is known of it
    return Party(
        **{field.name: getattr(party, field.name) or getattr(registered, field.name) for field in fields(Party)}
    )


def _digits(number: str) -> str:
    return "".join(letter for letter in number if letter.isalnum())


def to_row_party(party: Party) -> dict[str, Any]:
    return asdict(party)


def from_row_party(row: Mapping[str, Any] | None) -> Party:
    """A kept party; what later versions might add is passed over."""
    known = {field.name for field in fields(Party)}
    return Party(**{name: str(value) for name, value in (row or {}).items() if name in known and value is not None})


def payer_of(
    name: str | None, number: str | None, country: str | None, details: Mapping[str, Any] | None, account_id: str
) -> Party:
    """Whom an invoice is for, from what it kept; the account's id where it kept no name."""
    given = {name: str(value) for name, value in (details or {}).items() if name in PARTY_DETAILS and value is not None}
    return Party(name=name or account_id, registration_number=number or "", country=country or "", **given)
