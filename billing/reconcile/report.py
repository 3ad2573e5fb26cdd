"""What an operator is told of a comparison: totals, findings, residue, and what to do. Pure.

Units: money as decimal text, cut to twelve places where a mean price left more; ratios to six places.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from fractions import Fraction
from typing import Any

from billing.money import shift, to_wire_decimal
from billing.reconcile.compare import Compared, Finding

WHAT_TO_DO: Mapping[str, str] = {
    "doubled": "Send upstream the doubled lines and ask for a credit; the ledger has each call once.",
    "missing": "Export the days again later: upstream may not have counted them yet. Nothing is owed for them until it does.",
    "timeouts": "Nothing, while it stays small: these calls lost their answers. If it grows, look at the deadlines.",
    "unknown": "Find out who used the key: compare its other users, revoke it if there should be none. Until then do not pay this part.",
    "price": "Ask upstream which price holds. If theirs: post a card with that `buy` from that day on; if not, ask for a credit.",
    "midnight": "Nothing: the same calls, counted on the next day.",
}
RESIDUE_RATIO_MAX = Fraction(1, 10_000)
"""Beyond a hundredth of a percent somebody should look, whatever the rounding allows."""


def to_wire_compared(compared: Compared) -> dict[str, Any]:
    """The report of a month."""
    ratio = abs(compared.residue_usd) / compared.upstream_usd if compared.upstream_usd else abs(compared.residue_usd)
    is_within = abs(compared.residue_usd) <= compared.residue_usd_max and ratio <= RESIDUE_RATIO_MAX
    money = [each for each in compared.findings if each.name != "midnight"]
    return {
        "currency": "USD",
        "upstream": {"calls": compared.upstream_calls, "cost": to_wire_usd(compared.upstream_usd)},
        "expected": {"calls": compared.ledger_calls, "cost": to_wire_usd(compared.ledger_usd)},
        "difference": to_wire_usd(compared.upstream_usd - compared.ledger_usd),
        "named": {name: to_wire_usd(_sum(compared, name)) for name in WHAT_TO_DO if _has(compared, name)},
        "findings": [to_wire_finding(each) for each in compared.findings],
        "residue": to_wire_usd(compared.residue_usd),
        "residue_max": to_wire_usd(compared.residue_usd_max),
        "residue_ratio": format(round(Decimal(ratio.numerator) / ratio.denominator, 6), "f"),
        "agrees": not money and is_within,
        "what_to_do": [WHAT_TO_DO[name] for name in WHAT_TO_DO if _has(compared, name) and name != "midnight"]
        or (
            ["Nothing: both agree."]
            if is_within
            else ["The residue is more than rounding: ask upstream for exact costs."]
        ),
    }


def to_wire_finding(each: Finding) -> dict[str, Any]:
    return {
        "name": each.name,
        "from": each.day.isoformat(),
        "to": each.until.isoformat(),
        "days": each.days,
        "upstream_key": each.key or None,
        "model": each.model,
        "kind": each.kind or None,
        "calls": each.calls,
        "quantity": each.quantity,
        "amount": to_wire_usd(each.usd),
        "evidence": each.evidence,
        "what_to_do": WHAT_TO_DO[each.name],
    }


def to_wire_usd(usd: Fraction) -> str:
    return to_wire_decimal(shift(int(usd * 10**12), -12))


def _has(compared: Compared, name: str) -> bool:
    return any(each.name == name for each in compared.findings)


def _sum(compared: Compared, name: str) -> Fraction:
    return sum((each.usd for each in compared.findings if each.name == name), Fraction(0))
