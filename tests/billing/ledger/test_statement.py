"""A closed month as a stranger checks it: the invoice, its calls as exported, and `solar_sdk.receipts`, offline."""

from __future__ import annotations

import json
import random
from copy import deepcopy
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from billing.database import Sessions
from billing.exports.statement import invoice_json, invoice_text
from billing.invoice.read import invoices_of
from billing.ledger.calls import HOUSE_COLUMNS, OWN_COLUMNS, page_calls, stream_calls
from billing.ledger.entry import Settled
from solar_sdk import receipts
from solar_sdk.receipts import EntryWrong, LineDiffers, RootDiffers, StatementDisagrees
from tests.billing.ledger.second_verifier import root_from_spec
from tests.billing.months import CLOSING, CLOSING_NOVEMBER, NOVEMBER, OCTOBER, account, book, call, close

DEAR = ("3.00", "0.06", "12.00", "0.01", "0.03")


async def a_closed_month(sessions: Sessions, seed: int) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """An invoice and the calls it bills, both through JSON: grants, discounts, pages, a replaced estimate, another account."""
    rng = random.Random(seed)
    acc, other = await account(sessions), await account(sessions)
    for _ in range(12):
        batch = [
            call(
                acc if rng.random() < 0.8 else other,
                (
                    rng.randrange(2000),
                    rng.randrange(99),
                    rng.randrange(40, 400),
                    rng.choice([0, 2]),
                    rng.choice([0, 1]),
                ),
                discount=rng.choice(["0", "0.10"]),
                prices=rng.choice([DEAR, ("0.30", "0.06", "1.20", "0.01", "0.03")]),
                grants=(("gra_1", "output", 40),) if rng.random() < 0.3 else (),
            )
            for _ in range(9)
        ]
        estimate = Settled(
            msgspec.structs.replace(batch[0].record, usage=(5, 0, 0, 0, 0), estimated_reason="worker lost")
        )
        await book(sessions, estimate, *batch[1:])
        await book(sessions, batch[0])
    await close(sessions)
    async with sessions() as session:
        issued = next(each for each in await invoices_of(session, "2026-10") if each.invoice.account_id == acc)
        rows, cursor = await page_calls(session, "2026-10", acc, None, 1000)
    assert cursor is None
    assert f"Proof of its calls: {issued.invoice.proof_root}" in invoice_text(issued.invoice, issued.lines)
    printed: tuple[dict[str, Any], list[dict[str, Any]]] = json.loads(
        json.dumps([invoice_json(issued.invoice, issued.lines), rows])
    )
    return printed[0], printed[1]


@pytest.mark.parametrize("seed", range(3))
async def test_a_true_statement_is_verified_by_both_verifiers(sessions: Sessions, seed: int) -> None:
    invoice, calls = await a_closed_month(sessions, seed)
    receipt = receipts.verify(invoice, iter(calls))
    assert receipt.root == invoice["proof_root"] == root_from_spec(invoice["account_id"], "2026-10", calls)
    assert (receipt.entries, receipt.calls) == (len(calls), len({entry["call_id"] for entry in calls}))
    assert receipt.cost_usd == sum(Decimal(line["exact_usd"]) for line in invoice["lines"])
    assert receipts.root_of(invoice["account_id"], "2026-10", calls) == receipt.root


async def test_every_alteration_of_the_calls_is_found_and_told(sessions: Sessions) -> None:
    invoice, calls = await a_closed_month(sessions, 5)
    spoiled = [calls[1:], calls[:-1], [*calls, calls[0]], [calls[1], calls[0], *calls[2:]], []]
    for name in calls[7]:
        if name != "place":
            value = calls[7][name]
            changed = (
                not value if isinstance(value, bool) else (value or 0) + 1 if isinstance(value, int) else f"{value}1"
            )
            spoiled.append([*calls[:7], calls[7] | {name: changed}, *calls[8:]])
    for each in spoiled:
        with pytest.raises(StatementDisagrees):
            receipts.verify(invoice, each)
    with pytest.raises(RootDiffers, match="lead to the root"):
        receipts.verify(invoice, calls[:-1])
    with pytest.raises(EntryWrong, match="entry 8: its cost"):
        receipts.verify(invoice, [*calls[:7], calls[7] | {"cost": "9"}, *calls[8:]])
    with pytest.raises(EntryWrong, match="another account or month"):
        receipts.verify(invoice | {"account_id": "acc_other"}, calls)
    with pytest.raises(EntryWrong, match="KeyError: 'cost'"):
        receipts.verify(invoice, [{name: value for name, value in calls[0].items() if name != "cost"}])


async def test_every_alteration_of_the_lines_is_found(sessions: Sessions) -> None:
    invoice, calls = await a_closed_month(sessions, 6)
    for at, line in enumerate(invoice["lines"]):
        for name, value in {"quantity": line["quantity"] + 1, "exact_usd": "1.5", "unit_price": "7"}.items():
            spoiled = deepcopy(invoice)
            spoiled["lines"][at][name] = value
            with pytest.raises(LineDiffers):
                receipts.verify(spoiled, calls)
    short = invoice | {"lines": invoice["lines"][:-1]}
    with pytest.raises(LineDiffers, match="no line for 1 group"):
        receipts.verify(short, calls)
    with pytest.raises(RootDiffers):
        receipts.verify(invoice | {"proof_root": None}, calls)


async def test_late_calls_are_proved_by_the_invoice_that_carries_them(sessions: Sessions) -> None:
    acc = await account(sessions)
    await book(sessions, call(acc))
    await close(sessions, OCTOBER, CLOSING)
    await book(sessions, call(acc, (7, 0, 7, 0, 0)), at=CLOSING)
    await close(sessions, NOVEMBER, CLOSING_NOVEMBER)
    async with sessions() as session:
        for month, count in (("2026-10", 1), ("2026-11", 1)):
            (issued,) = await invoices_of(session, month)
            rows, _ = await page_calls(session, month, acc, None, 10)
            assert receipts.verify(invoice_json(issued.invoice, issued.lines), rows).entries == count


async def test_pages_of_any_size_give_every_call_once_in_the_order_of_the_proof(sessions: Sessions) -> None:
    calls = [call(f"acc_{index % 3}") for index in range(25)]
    await book(sessions, *calls)
    pages = [page async for page in stream_calls(sessions, "2026-10", None, 4, house=True)]
    assert [len(page) for page in pages] == [4] * 6 + [1]
    rows = [row for page in pages for row in page]
    assert [(row["account_id"], row["place"]) for row in rows] == sorted(
        (row["account_id"], row["place"]) for row in rows
    )
    assert {row["call_id"] for row in rows} == {item.record.call_id for item in calls}
    assert tuple(rows[0]) == HOUSE_COLUMNS
    own = [page async for page in stream_calls(sessions, "2026-10", "acc_1", 100)]
    assert tuple(own[0][0]) == OWN_COLUMNS
    assert [page async for page in stream_calls(sessions, "2026-09", None, 4)] == [[]]
    async with sessions() as session:
        for cursor in ("", "x", "acc_1:", "acc_1:-3", "acc_1:9" + "9" * 30):
            with pytest.raises(ValueError, match="is not a cursor"):
                await page_calls(session, "2026-10", None, cursor, 4)
