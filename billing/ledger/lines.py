"""An entry as the ledger takes it: its line for COPY, its link in the proof, and what it adds to the rollups. Pure.

What entries have in common (`entry.Common`) is turned into text once. Units: counts and exact USD as plain decimal text.
The proof's format is PROOF.md; `proof.leaf_of` makes the same leaf from a row that is read, and tests hold the two together.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from functools import lru_cache
from hashlib import sha256
from typing import NamedTuple

import msgspec

from billing.ledger.entry import ABSORBED, COUNTS, GRANTED, PRICES, SLOT_S, Common, Entry, Shared
from billing.ledger.proof import ENTRY_LABEL, Chain, plain

_json = msgspec.json.Encoder().encode
_NULL = "\\N"
_ESCAPES = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"})
_NONE_ABSORBED = "0\t0\t0\t0\t0\t\\N"
_NO_COUNTS = (0, 0, 0, 0, 0)

_ALIKE = (*Shared._fields[:10], *PRICES, "discount", "discount_reason", "buy_prices")
COLUMNS = (
    *("partition_month", "entry_id", "call_id", "kind", "reverses", "accepted_at", "day"),
    *(*COUNTS, *GRANTED, "list_cost", "cost", *ABSORBED, "absorbed_reason", "buy_cost", "absorbed_buy_cost"),
    *("estimated_reason", "streamed", "attempts", "upstream_key", *_ALIKE, "place", "recorded_at"),
)
"""Every column of `ledger_entry`, in the order of a line."""

_GROUPED = ("account_id", "key_id", "zone", "billing_month", "booked_month", "model", "card_id", "discount", *PRICES)
_SUMMED = (
    *("entries", "calls", "estimated_calls", "calls_without_buy_price"),
    *(*COUNTS, *GRANTED, *ABSORBED, "list_cost", "cost", "buy_cost", "absorbed_buy_cost"),
)
DAY_COLUMNS = (*_GROUPED, "day", *_SUMMED)
SLOT_COLUMNS = ("slot", "model", *_SUMMED)
"""What entries add to the rollups, in the order of a line: `Sums`."""

_COUNTED = "\t".join(["%d"] * (len(_SUMMED) - 4))


class _Texts(NamedTuple):
    caller: str
    """In the canonical form: account and key."""
    terms: str
    """In the canonical form: from the billing month to why there is a discount."""
    alike: str
    """For COPY: the columns of `_ALIKE`."""
    grouped: str
    """For COPY: the columns of `_GROUPED`."""


def leaf_of_entry(entry: Entry) -> bytes:
    """The hash of its canonical form (PROOF.md)."""
    return _leaf(entry, _texts_of(entry.common), *_costs(entry))


def to_row_line(entry: Entry, chain: Chain, recorded_at: str) -> str:
    """Links it to its proof; its line in a COPY of `COLUMNS`."""
    texts, (listed, cost) = _texts_of(entry.common), _costs(entry)
    place = chain.add(_leaf(entry, texts, listed, cost))
    c, g, buy, absorbed = entry.counts, entry.granted, entry.common.buy, _NONE_ABSORBED
    if entry.absorbed != _NO_COUNTS or entry.absorbed_reason is not None:
        absorbed = "\t".join([*map(str, entry.absorbed), _copied(entry.absorbed_reason)])
    bought = (
        "\\N\t\\N"
        if buy is None
        else f"{plain_units(entry.buy_units, buy.places)}\t{plain_units(entry.absorbed_buy_units, buy.places)}"
    )
    return (
        f"{entry.partition_month}\t{entry.entry_id}\t{entry.call_id}\t{'reversal' if entry.reverses else 'call'}\t"
        f"{entry.reverses or _NULL}\t{entry.accepted_at}\t{entry.day}\t"
        f"{c[0]}\t{c[1]}\t{c[2]}\t{c[3]}\t{c[4]}\t{g[0]}\t{g[1]}\t{g[2]}\t{listed}\t{cost}\t"
        f"{absorbed}\t{bought}\t{_copied(entry.estimated_reason)}\t{'t' if entry.streamed else 'f'}\t{entry.attempts}\t"
        f"{_copied(entry.upstream_key)}\t{texts.alike}\t{place}\t{recorded_at}\n"
    )


def _costs(entry: Entry) -> tuple[str, str]:
    common = entry.common
    listed = plain_units(entry.list_units, common.listed.places)
    same = common.charged is common.listed and entry.cost_units == entry.list_units
    return listed, listed if same else plain_units(entry.cost_units, common.charged.places)


def _leaf(entry: Entry, texts: _Texts, listed: str, cost: str) -> bytes:
    c, g, reason = entry.counts, entry.granted, entry.estimated_reason
    canonical = (
        f'["{entry.entry_id}","{entry.call_id}","{"reversal" if entry.reverses else "call"}","{entry.reverses}",'
        f'{texts.caller},"{entry.accepted_at}",{texts.terms},'
        f'"{c[0]}","{c[1]}","{c[2]}","{c[3]}","{c[4]}","{g[0]}","{g[1]}","{g[2]}","{listed}","{cost}",'
        f'{_quoted(reason) if reason else _EMPTY},"{"true" if entry.streamed else "false"}","{entry.attempts}"]'
    )
    return sha256(ENTRY_LABEL + canonical.encode()).digest()


class Sums:
    """What entries add to the rollups: by day and what they have in common, and by quarter of an hour and model."""

    def __init__(self) -> None:
        self._days: dict[tuple[str, Common], list[tuple[int, ...]]] = {}
        self._slots: dict[tuple[int, str, tuple[int, int, int]], list[tuple[int, ...]]] = {}

    def add(self, entries: Iterable[Entry]) -> None:
        days, slots = self._days, self._slots
        for entry in entries:
            common, sign = entry.common, -1 if entry.reverses else 1
            values = (
                1,
                sign,
                0 if entry.estimated_reason is None else sign,
                sign if common.buy is None else 0,
                *entry.counts,
                *entry.granted,
                *entry.absorbed,
                entry.list_units,
                entry.cost_units,
                entry.buy_units,
                entry.absorbed_buy_units,
            )
            day, slot = (entry.day, common), (entry.slot, common.shared.model, common.places)
            if day in days:
                days[day].append(values)
            else:
                days[day] = [values]
            if slot in slots:
                slots[slot].append(values)
            else:
                slots[slot] = [values]

    def to_row_lines(self) -> tuple[list[str], list[str]]:
        """Lines of `DAY_COLUMNS`; lines of `SLOT_COLUMNS`."""
        return (
            [f"{_texts_of(c).grouped}\t{day}\t{_summed(rows, c.places)}\n" for (day, c), rows in self._days.items()],
            [f"{_instant(at)}\t{_copied(m)}\t{_summed(rows, of)}\n" for (at, m, of), rows in self._slots.items()],
        )


def _summed(rows: list[tuple[int, ...]], places: tuple[int, int, int]) -> str:
    values = rows[0] if len(rows) == 1 else tuple(map(sum, zip(*rows, strict=True)))
    listed, charged, bought = places
    costs = map(plain_units, values[-4:], (listed, charged, bought, bought))
    return "\t".join([_COUNTED % values[:-4], *costs])


def plain_units(units: int, places: int) -> str:
    """`units` × 10^−`places` in the proof's form: no exponent, and no digits that say nothing."""
    if units < 0:
        return f"-{plain_units(-units, places)}"
    if not places or not units:
        return str(units)
    whole, rest = divmod(units, 10**places)
    return f"{whole}.{rest:0{places}d}".rstrip("0") if rest else str(whole)


def _texts_of(common: Common) -> _Texts:
    if common.texts is None:
        each = common.shared
        terms = [*each[3:8], each.model_answered or "", each.card_id]
        terms += [*map(plain, each.prices), plain(each.discount), each.discount_reason]
        prices = [*map(_copied, each.prices)]
        buys = _NULL if each.buy_prices is None else f"{{{','.join(each.buy_prices)}}}"
        alike = [*map(_copied, each[:10]), *prices, _copied(each.discount), _copied(each.discount_reason), buys]
        grouped = [*map(_copied, (*each[:5], each.model, each.card_id, each.discount)), *prices]
        common.texts = _Texts(
            f"{_quoted(each.account_id)},{_quoted(each.key_id)}",
            ",".join(map(_quoted, terms)),
            "\t".join(alike),
            "\t".join(grouped),
        )
    texts: _Texts = common.texts
    return texts


def _quoted(text: str) -> str:
    return _json(text).decode()


_EMPTY = _quoted("")


@lru_cache(maxsize=4096)
def _copied(text: str | None) -> str:
    """A text as COPY reads it."""
    return _NULL if text is None else text.translate(_ESCAPES)


@lru_cache(maxsize=4096)
def _instant(slot: int) -> str:
    """The begin of a quarter of an hour, as Postgres reads it."""
    return datetime.fromtimestamp(slot * SLOT_S, UTC).isoformat()
