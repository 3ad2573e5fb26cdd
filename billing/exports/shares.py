"""A partner's share statement with each step of "why is my share this": JSON, CSV, text, and PDF in Korean and English. Pure.

Units: USD; steps are shown to 18 places, cut (JSON has the exact fractions too). Payers are numbers, never names: 1 is the one that put
up the most, and numbers change each month. The same statement gives the same bytes. Errors: `PaperFault`.
Columns of the CSV: `row` is `step` (a pool: net revenue → pool → weight / weight_total of it), `correction` (what credit notes took
back of an earlier `month`) or one of the sums `amount`, `carried_in`, `carried_over`, `payout`, which have only an `exact_amount`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

from billing.exports.pdf import render
from billing.exports.statement import TEXT_WIDTH, csv_text, harmless, sum_text
from billing.money import to_wire_decimal
from billing.share.payout import Statement

SHARE_COLUMNS = (
    "account_id",
    "month",
    "pool",
    "weight",
    "amount",
    "carried_in",
    "carried_over",
    "payout",
    "currency",
    "rule",
)
STEP_COLUMNS = (
    "row",
    "account_id",
    "month",
    "rule",
    "payer",
    "model",
    "net_revenue",
    "pool",
    "weight",
    "weight_total",
    "exact_amount",
    "currency",
)
_SUMS = ("amount", "carried_in", "carried_over", "payout")
_SUM_NAMES = {
    "amount": ("이번 달 배분액", "Share of the month"),
    "carried_in": ("전월 이월", "Carried in"),
    "carried_over": ("다음 달 이월", "Carried over"),
    "payout": ("지급액", "Paid out"),
}


def share_json(share: Statement) -> dict[str, Any]:
    """The contract's share, and how it came about."""
    return {**_share_cells(share), **share.terms, "steps": share.steps}


def share_csv(shares: Iterable[Statement]) -> str:
    """One row a statement; columns as in `SHARE_COLUMNS`."""
    return csv_text(SHARE_COLUMNS, [_share_cells(share) for share in shares])


def share_text(share: Statement, account_name: str = "") -> str:
    """The statement for a terminal or a text file."""
    facts = [
        f"REVENUE SHARE {share.month}",
        f"for {account_name or share.account_id}, rule {share.rule}, in {share.currency}",
        "-" * TEXT_WIDTH,
    ]
    steps = [_step_text(step) for step in share.steps]
    sums = [
        sum_text("Pool of the month", share.pool, share.currency),
        sum_text("Your share", share.amount, share.currency),
        sum_text("Carried in", share.carried_in, share.currency),
        sum_text("Carried over", share.carried_over, share.currency),
        sum_text("Paid out", share.payout, share.currency),
    ]
    return "\n".join([*facts, *steps, "-" * TEXT_WIDTH, *sums, ""])


def _step_text(step: Mapping[str, Any]) -> str:
    if step["kind"] == "correction":
        return f"credit note, payer {step['payer']} of {step['month']}, {step['model']}: {step['exact_amount']}"
    return f"payer {step['payer']}, {step['model']}: {step['pool']} x {step['fraction']} = {step['exact_amount']}"


def _share_cells(share: Statement) -> dict[str, Any]:
    return {
        "account_id": share.account_id,
        "month": share.month,
        "pool": to_wire_decimal(share.pool),
        "weight": to_wire_decimal(share.weight),
        "amount": to_wire_decimal(share.amount),
        "carried_in": to_wire_decimal(share.carried_in),
        "carried_over": to_wire_decimal(share.carried_over),
        "payout": to_wire_decimal(share.payout),
        "currency": share.currency,
        "rule": share.rule,
    }


def share_for_finance(share: Statement, pools: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The statement with the payer and the invoice behind each step of its own month: for finance only, never for a partner."""
    behind = {pool["payer"]: pool for pool in pools}
    steps = [
        {**step, "payer_account_id": behind[step["payer"]]["account_id"], "invoice": behind[step["payer"]]["invoice"]}
        if step["kind"] == "pool"
        else step
        for step in share.steps
    ]
    return {**share_json(share), "steps": steps}


def steps_csv(share: Statement) -> str:
    """One row a step, then the sums; columns as in `STEP_COLUMNS`."""
    head = {"account_id": share.account_id, "month": share.month, "rule": share.rule, "currency": share.currency}
    steps = [
        {
            **head,
            **{name: step.get(name, "") for name in STEP_COLUMNS if name not in head},
            "row": "step" if step["kind"] == "pool" else "correction",
            "month": step.get("month", share.month),
            "model": harmless(step["model"]),
        }
        for step in share.steps
    ]
    sums = [{**head, "row": name, "exact_amount": to_wire_decimal(getattr(share, name))} for name in _SUMS]
    return csv_text(STEP_COLUMNS, [*steps, *sums])


def share_pdf(share: Statement, partner: str, house: str, at: datetime | None = None) -> bytes:
    """The statement on paper: `partner` (who supplied the text) and `house` as they are called, `at` when it was computed."""
    terms = share.terms
    return render(
        "share.typ",
        {
            "title": f"수익 배분 명세서 {share.month}",
            "heading": {"ko": "수익 배분 명세서", "en": "Revenue share", "number": share.month},
            "seller": {"name": partner, "facts": [["계정 Account", share.account_id]]},
            "buyer": {"name": house, "facts": []},
            "facts": [
                _fact("월", "Month", share.month),
                _fact("규칙", "Rule", share.rule),
                _fact("배분율", "Pool rate", terms.get("pool_rate", "")),
                *([_fact("납부자 상한", "Payer cap", terms["payer_cap"])] if terms.get("payer_cap") else []),
                _fact("최소 지급액", "Minimum payout", terms.get("minimum_payout", "")),
                _fact("그달의 총재원", "Pool of the month", _usd(share.pool)),
                _fact("가중치", "Your weight", to_wire_decimal(share.weight)),
            ],
            "notes": [
                terms.get("rule_words", ""),
                "납부자는 번호로만 표시됩니다. Payers are numbers, never names; 1 put up the most.",
                "금액은 분수로 정확히 계산되고, 센트로의 반올림은 최대 나머지법으로 한 번만 합니다. "
                "Amounts are exact fractions, rounded to cents once, by largest remainder.",
            ],
            "currency": share.currency,
            "steps": [_step(step, share.month) for step in share.steps],
            "sums": [
                {
                    "ko": _SUM_NAMES[name][0],
                    "en": _SUM_NAMES[name][1],
                    "amount": _usd(getattr(share, name)),
                    "strong": name == "payout",
                }
                for name in _SUMS
            ],
        },
        at,
    )


def _step(step: Mapping[str, Any], month: str) -> dict[str, Any]:
    of = step.get("month", month)
    correction = step["kind"] == "correction"
    return {
        "payer": step["payer"],
        "what": f"{step['model']}, 대변표 credit notes of {of}" if correction else f"{step['model']}, {of}",
        "net_revenue": step.get("net_revenue"),
        "pool": step.get("pool"),
        "fraction": step.get("fraction", "").replace("/", " / ") or None,
        "exact_amount": step["exact_amount"],
    }


def _fact(ko: str, en: str, value: str) -> dict[str, str]:
    return {"ko": ko, "en": en, "value": value}


def _usd(amount: Decimal) -> str:
    return f"{amount:,.2f}"
