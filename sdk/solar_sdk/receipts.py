"""Verifies a statement offline: do the exported calls lead to the invoice's root, and does each line follow from them?

    import json, solar_sdk
    from solar_sdk import receipts
    invoice = json.load(open("invoice.json"))
    with open("calls.ndjson") as calls:
        receipt = receipts.verify(invoice, map(json.loads, calls))

The format is billing/ledger/PROOF.md, version 1; section numbers below are its. Entries come in the order of their places and are read
once, so a month of any size fits. Needs nothing but the standard library, no network, no key. Costs are exact USD (Decimal).

    StatementDisagrees      the statement and the calls do not belong together
    ├── EntryWrong          an entry contradicts itself, or is not of this account and month; `place` says which
    ├── RootDiffers         an entry was changed, dropped, added or moved
    └── LineDiffers         a line of the invoice does not follow from the entries
"""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Context, Decimal, Inexact, InvalidOperation
from functools import lru_cache
from operator import itemgetter
from typing import Any

__all__ = ["EntryWrong", "LineDiffers", "Receipt", "RootDiffers", "StatementDisagrees", "root_of", "verify"]

_TOKEN_KINDS = ("input", "cached_input", "output")
_PAGE_KINDS = ("standard", "enhanced")
_COUNTS = (*(f"{kind}_tokens" for kind in _TOKEN_KINDS), *(f"{kind}_pages" for kind in _PAGE_KINDS))
_PRICES = tuple(f"{kind}_price" for kind in (*_TOKEN_KINDS, *_PAGE_KINDS))
_GRANTED = tuple(f"granted_{kind}_tokens" for kind in _TOKEN_KINDS)
_HEAD = ("entry_id", "call_id", "kind", "reverses", "account_id", "key_id", "accepted_at", "billing_month")
_CALL = ("booked_month", "endpoint", "model_asked", "model", "model_answered", "card_id")
_FIELDS = (
    *_HEAD,
    *_CALL,
    *_PRICES,
    "discount",
    "discount_reason",
    *_COUNTS,
    *_GRANTED,
    "list_cost",
    "cost",
    "estimated_reason",
    "streamed",
    "attempts",
)
_NUMBERS = frozenset((*_PRICES, "discount", "list_cost", "cost"))
_EXACT = Context(prec=100, traps=[Inexact, InvalidOperation])
_MILLIONTH = Decimal("0.000001")
_VALUES = itemgetter(*_FIELDS)
_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
_decimal = lru_cache(maxsize=4096)(Decimal)
"""For prices and discounts, of which there are few."""


class StatementDisagrees(ValueError):
    """The statement and the calls do not belong together."""


class EntryWrong(StatementDisagrees):
    """An entry contradicts itself, or is not of this account and month."""

    def __init__(self, place: int, why: str) -> None:
        super().__init__(f"entry {place}: {why}")
        self.place = place


class RootDiffers(StatementDisagrees):
    """An entry was changed, dropped, added or moved."""

    def __init__(self, stated: str | None, found: str, entries: int) -> None:
        super().__init__(f"{entries} entries lead to the root {found}, the statement says {stated}")
        self.stated, self.found, self.entries = stated, found, entries


class LineDiffers(StatementDisagrees):
    """A line of the invoice does not follow from the entries."""


@dataclass(frozen=True, slots=True)
class Receipt:
    """What was found to be true."""

    root: str
    entries: int
    calls: int
    cost_usd: Decimal


_LineKey = tuple[str, str, str, str, Decimal, Decimal, bool]
"""Month of the calls, model, kind, card, unit price, discount, granted."""


@dataclass(slots=True)
class _Reading:
    """What has been read so far."""

    account_id: str
    month: str
    value: bytes = b""
    entries: int = 0
    calls: int = 0
    cost: Decimal = Decimal(0)
    quantities: dict[_LineKey, int] = field(default_factory=lambda: defaultdict(int))

    def __post_init__(self) -> None:
        self.value = _hash("month", _json([self.account_id, self.month]))

    def read(self, entry: Mapping[str, Any]) -> None:
        self.entries += 1
        try:
            self.value = _hash("link", self.value + _hash("entry", _json(_texts(entry))))
            self._reckon(entry)
        except (KeyError, TypeError, ArithmeticError) as error:
            raise EntryWrong(self.entries, f"{type(error).__name__}: {error}") from None

    def root(self) -> str:
        return _hash("root", self.value + str(self.entries).encode()).hex()

    def _reckon(self, entry: Mapping[str, Any]) -> None:
        """Section 5: what the entry says of itself, and what it adds to the lines."""
        if (entry["account_id"], entry["booked_month"]) != (self.account_id, self.month):
            raise EntryWrong(self.entries, "it is of another account or month")
        used = [int(entry[name]) for name in _COUNTS]
        granted = [*(int(entry[name]) for name in _GRANTED), 0, 0]
        prices, discount = [_decimal(entry[name]) for name in _PRICES], _decimal(entry["discount"])
        list_cost = _sum(used, prices)
        cost = _EXACT.multiply(_sum([u - g for u, g in zip(used, granted, strict=True)], prices), 1 - discount)
        if list_cost != Decimal(entry["list_cost"]) or cost != Decimal(entry["cost"]):
            raise EntryWrong(self.entries, "its cost is not its counts times its prices")
        self.calls += -1 if entry["kind"] == "reversal" else 1
        self.cost = _EXACT.add(self.cost, cost)
        of = (str(entry["billing_month"]), str(entry["model"]))
        for kind, price, count, free in zip((*_TOKEN_KINDS, *_PAGE_KINDS), prices, used, granted, strict=True):
            if count != free:
                self.quantities[*of, kind, str(entry["card_id"]), price, discount, False] += count - free
            if free:
                self.quantities[*of, kind, str(entry["card_id"]), price, Decimal(1), True] += free


def root_of(account_id: str, month: str, entries: Iterable[Mapping[str, Any]]) -> str:
    """The root that entries lead to (section 4); raises `EntryWrong`."""
    reading = _Reading(account_id, month)
    for entry in entries:
        reading.read(entry)
    return reading.root()


def verify(invoice: Mapping[str, Any], entries: Iterable[Mapping[str, Any]]) -> Receipt:
    """Check an invoice (as the gateway gives it, JSON) against its exported calls; raises `StatementDisagrees`."""
    reading = _Reading(str(invoice["account_id"]), str(invoice["month"]))
    for entry in entries:
        reading.read(entry)
    root = reading.root()
    if root != invoice.get("proof_root"):
        raise RootDiffers(invoice.get("proof_root"), root, reading.entries)
    _check_lines(invoice["lines"], reading.quantities)
    return Receipt(root, reading.entries, reading.calls, reading.cost)


def _check_lines(lines: Iterable[Mapping[str, Any]], quantities: Mapping[_LineKey, int]) -> None:
    left = {key: quantity for key, quantity in quantities.items() if quantity}
    for line in lines:
        what = str(line["description"])
        key = _key_of(line)
        if left.pop(key, None) != int(line["quantity"]):
            raise LineDiffers(f"{what}: the entries do not come to {line['quantity']}")
        free = bool(line["granted"])
        exact = Decimal(0) if free else _EXACT.multiply(_sum_of_one(key, int(line["quantity"])), 1 - key[5])
        if exact != Decimal(line["exact_usd"]):
            raise LineDiffers(f"{what}: {line['quantity']} come to {exact} USD, not to {line['exact_usd']}")
    if left:
        raise LineDiffers(f"the invoice has no line for {len(left)} groups of entries")


def _key_of(line: Mapping[str, Any]) -> _LineKey:
    head = (str(line["billing_month"]), str(line["model"]), str(line["kind"]), str(line["card_id"]))
    return (*head, Decimal(line["unit_price"]), Decimal(line["discount"]), bool(line["granted"]))


def _sum_of_one(key: _LineKey, quantity: int) -> Decimal:
    price = _EXACT.multiply(Decimal(quantity), key[4])
    return price if key[2] in _PAGE_KINDS else _EXACT.multiply(price, _MILLIONTH)


def _sum(counts: list[int], prices: list[Decimal]) -> Decimal:
    tokens = pages = Decimal(0)
    for count, price in zip(counts[:3], prices[:3], strict=True):
        tokens = _EXACT.fma(Decimal(count), price, tokens)
    for count, price in zip(counts[3:], prices[3:], strict=True):
        pages = _EXACT.fma(Decimal(count), price, pages)
    return _EXACT.add(_EXACT.multiply(tokens, _MILLIONTH), pages)


def _texts(entry: Mapping[str, Any]) -> list[str]:
    """Section 2: the canonical form."""
    return [
        value if value.__class__ is str and name not in _NUMBERS else _text(value, number=name in _NUMBERS)
        for name, value in zip(_FIELDS, _VALUES(entry), strict=True)
    ]


def _text(value: Any, *, number: bool) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return _number(str(value)) if number else str(value)


@lru_cache(maxsize=4096)
def _number(text: str) -> str:
    """Section 3. A text that is canonical already, as exports hold it, is taken as it is."""
    canonical = text.removeprefix("-").replace(".", "", 1).isdigit() and text.isascii()
    if canonical and "." in text and text[-1] != "0" and text[0].isdigit() and not (text[0] == "0" and text[1] != "."):
        return text
    shown = format(_EXACT.create_decimal(text), "f")
    shown = shown.rstrip("0").rstrip(".") if "." in shown else shown
    return "0" if shown in ("-0", "") else shown


def _hash(label: str, data: bytes) -> bytes:
    """Section 1."""
    return hashlib.sha256(f"solar-ledger-{label}-v1\n".encode() + data).digest()


def _json(texts: list[str]) -> bytes:
    return _encode(texts).encode()
