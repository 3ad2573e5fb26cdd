"""An operator's review of a month's shares as JSON. Pure. Units: exact amounts cut to 18 places; ratios cut to 6."""

from __future__ import annotations

import math
from decimal import Decimal
from fractions import Fraction
from typing import Any

from billing.money import to_wire_decimal
from billing.payouts.review import Review
from billing.share.split import shown

_PLACES = 6
_NOT_LOOKED_AT = "the address of a call and the card that an invoice is paid by are not stored"


def review_json(review: Review) -> dict[str, Any]:
    """Each owner group's share with its flags, and suggestions for owner groups."""
    return {
        "data": [
            {
                "owner_group": each.owner_group,
                "partners": list(each.partner_ids),
                "amount": to_wire_decimal(shown(each.usd)),
                "currency": "USD",
                "payers": [
                    {"owner_group": group, "amount": to_wire_decimal(shown(usd)), "part": _ratio(usd / each.usd)}
                    for group, usd in each.payer_groups
                ],
                "concentration": _ratio(each.concentration),
                "reciprocal": _ratio(each.reciprocal),
                "related": list(each.related),
                "flags": list(each.flags),
            }
            for each in review.fed
        ],
        "suggestions": [
            {
                "accounts": list(each.account_ids),
                "owner_groups": list(each.owner_groups),
                "why": each.why,
                "detail": each.detail,
            }
            for each in review.suggestions
        ],
        "not_looked_at": _NOT_LOOKED_AT,
        "next": None,
    }


def _ratio(exact: Fraction) -> str:
    return to_wire_decimal(Decimal(math.floor(exact * 10**_PLACES)).scaleb(-_PLACES))
