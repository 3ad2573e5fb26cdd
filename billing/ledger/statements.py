"""The SQL that writes the ledger, composed once from the names of its columns. Pure text; values travel as parameters.

One statement takes a whole batch: it inserts the entries that are not there yet and adds what it inserted (nothing else) to the
daily rollup of their accounts, to the quarter-hourly one of the house, and to the running totals. So an entry and its rollups are in
one transaction because they are in one statement. The same sums (`MEASURES`) check the rollups against the entries later.

Rows come by COPY into a temporary table, money as text: measured 2026-11 as the cheapest way through asyncpg (an array a column takes
the driver 20 µs a row, one INSERT a row ten times as much).
"""

from __future__ import annotations

_TOKENS = ("input_tokens", "cached_input_tokens", "output_tokens", "standard_pages", "enhanced_pages")

ENTRY_TYPES = {
    "partition_month": "integer",
    "entry_id": "uuid",
    "call_id": "uuid",
    "kind": "text",
    "reverses": "uuid",
    "account_id": "text",
    "key_id": "text",
    "accepted_at": "timestamptz",
    "day": "date",
    "zone": "text",
    "billing_month": "text",
    "booked_month": "text",
    "endpoint": "text",
    "model_asked": "text",
    "model": "text",
    "model_answered": "text",
    "card_id": "text",
    "input_price": "numeric",
    "cached_input_price": "numeric",
    "output_price": "numeric",
    "standard_price": "numeric",
    "enhanced_price": "numeric",
    "discount": "numeric",
    "discount_reason": "text",
    **dict.fromkeys(_TOKENS, "integer"),
    "granted_input_tokens": "integer",
    "granted_cached_input_tokens": "integer",
    "granted_output_tokens": "integer",
    "list_cost": "numeric",
    "cost": "numeric",
    **{f"absorbed_{name}": "integer" for name in _TOKENS},
    "absorbed_reason": "text",
    "buy_prices": "numeric[]",
    "buy_cost": "numeric",
    "absorbed_buy_cost": "numeric",
    "estimated_reason": "text",
    "streamed": "boolean",
    "attempts": "integer",
    "recorded_at": "timestamptz",
    "place": "bigint",
}
"""Every column of `ledger_entry` and the type in which its values come."""

STAGING = "ledger_incoming"

_SIGN = "CASE kind WHEN 'reversal' THEN -1 ELSE 1 END"

MEASURES = {
    "calls": f"sum({_SIGN})",
    "estimated_calls": f"coalesce(sum({_SIGN}) FILTER (WHERE estimated_reason IS NOT NULL), 0)",
    "calls_without_buy_price": f"coalesce(sum({_SIGN}) FILTER (WHERE buy_cost IS NULL), 0)",
    **{name: f"sum({name})" for name in _TOKENS},
    "granted_input_tokens": "sum(granted_input_tokens)",
    "granted_cached_input_tokens": "sum(granted_cached_input_tokens)",
    "granted_output_tokens": "sum(granted_output_tokens)",
    **{f"absorbed_{name}": f"sum(absorbed_{name})" for name in _TOKENS},
    "list_cost": "sum(list_cost)",
    "cost": "sum(cost)",
    "buy_cost": "coalesce(sum(buy_cost), 0)",
    "absorbed_buy_cost": "coalesce(sum(absorbed_buy_cost), 0)",
}
"""What a rollup holds of a group of entries. A reversal takes its call back out of the count of calls."""

DAY_KEY = (
    "account_id",
    "day",
    "booked_month",
    "billing_month",
    "zone",
    "key_id",
    "model",
    "card_id",
    "discount",
    "input_price",
    "cached_input_price",
    "output_price",
    "standard_price",
    "enhanced_price",
)
"""What entries of one row of `ledger_day` have in common."""

SLOT_MINUTES = 15
"""Every zone in use is a whole number of these away from UTC (Asia/Kathmandu: 5:45), so days of any zone are whole slots."""

_SLOT = f"date_bin('{SLOT_MINUTES} minutes', accepted_at, '2000-01-01Z')"
SLOT_KEY = {"slot": _SLOT, "model": "model"}
"""What entries of one row of `ledger_slot` have in common, and how it is read off an entry."""

_TOTAL_KEY = ("account_id", "billing_month", "key_id")
_TOTAL_MEASURES = {"entries": "count(*)", "cost": "sum(cost)"}


def stage() -> str:
    """Makes the table of this connection into which a batch is copied; it is empty again after each transaction."""
    columns = ", ".join(
        f"{name} {'text' if kind.startswith('numeric') else kind}" for name, kind in ENTRY_TYPES.items()
    )
    return f"CREATE TEMPORARY TABLE IF NOT EXISTS {STAGING} ({columns}) ON COMMIT DELETE ROWS"


def insert_staged() -> str:
    """Moves what was copied into the ledger, with its rollups; takes the chains that it lengthens, an array a column."""
    values = ", ".join(f"{name}::{kind}" if kind.startswith("numeric") else name for name, kind in ENTRY_TYPES.items())
    columns = ", ".join(ENTRY_TYPES)
    return f"""
WITH fresh AS (
    INSERT INTO ledger_entry ({columns}) SELECT {values} FROM {STAGING} ORDER BY entry_id
    RETURNING *
), days AS ({_added("ledger_day", dict(zip(DAY_KEY, DAY_KEY, strict=True)), MEASURES)}
), totals AS ({_added("ledger_total", dict(zip(_TOTAL_KEY, _TOTAL_KEY, strict=True)), _TOTAL_MEASURES)}
), slots AS ({_added("ledger_slot", SLOT_KEY, MEASURES)}
)
UPDATE ledger_proof SET entries = chain.entries, head = chain.head
FROM unnest(CAST(:accounts AS text[]), CAST(:months AS text[]), CAST(:entries AS bigint[]), CAST(:heads AS bytea[]))
    AS chain (account_id, booked_month, entries, head)
WHERE ledger_proof.account_id = chain.account_id AND ledger_proof.booked_month = chain.booked_month"""  # noqa: S608 - composed of the names above alone


LOCK_CHAINS = """
SELECT account_id, booked_month, entries, head
FROM unnest(CAST(:accounts AS text[]), CAST(:months AS text[])) AS wanted (account_id, booked_month)
JOIN ledger_proof USING (account_id, booked_month) ORDER BY account_id, booked_month FOR UPDATE OF ledger_proof"""
"""Locks chains, in one order for everybody, so that two writers that meet wait instead of dead-locking (traps.md 34)."""

BEGIN_CHAINS = """
INSERT INTO ledger_proof (account_id, booked_month, entries, head)
SELECT * FROM unnest(CAST(:accounts AS text[]), CAST(:months AS text[]), CAST(:entries AS bigint[]), CAST(:heads AS bytea[]))
ON CONFLICT DO NOTHING"""

KNOWN_ENTRIES = """
SELECT entry_id, estimated_reason FROM ledger_entry
JOIN unnest(CAST(:partitions AS integer[]), CAST(:ids AS uuid[])) AS asked (partition_month, entry_id)
USING (partition_month, entry_id)"""


def rollup_differences(table: str, key: dict[str, str], rows_where: str, entries_where: str) -> str:
    """How many rows of a rollup differ from the full sum of the entries that belong to them (also: are missing, or too many)."""
    rolled = f"SELECT {', '.join([*key, *MEASURES])} FROM {table} WHERE {rows_where}"  # noqa: S608 - as above
    summed = ", ".join([*(f"{value} AS {name}" for name, value in key.items()), *_measured(MEASURES)])
    places = ", ".join(str(place) for place in range(1, len(key) + 1))
    differ = " OR ".join(f"rolled.{name} IS DISTINCT FROM summed.{name}" for name in MEASURES)
    return f"""
WITH rolled AS ({rolled}), summed AS (SELECT {summed} FROM ledger_entry WHERE {entries_where} GROUP BY {places})
SELECT count(*) FROM rolled FULL JOIN summed USING ({", ".join(key)}) WHERE {differ}"""  # noqa: S608 - as above


def _added(table: str, key: dict[str, str], measures: dict[str, str]) -> str:
    # In the order of the key: two writers that meet wait for one another instead of dead-locking (traps.md 34).
    order = ", ".join(str(place) for place in range(1, len(key) + 1))
    summed = ", ".join([*key.values(), *_measured(measures)])
    sums = ", ".join(f"{name} = {table}.{name} + excluded.{name}" for name in measures)
    return f"""
    INSERT INTO {table} ({", ".join([*key, *measures])}) SELECT {summed} FROM fresh GROUP BY {order} ORDER BY {order}
    ON CONFLICT ({", ".join(key)}) DO UPDATE SET {sums}"""  # noqa: S608 - as above


def _measured(measures: dict[str, str]) -> list[str]:
    return [f"{expression} AS {name}" for name, expression in measures.items()]
