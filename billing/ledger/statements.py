"""The SQL that writes the ledger, composed once from the names of its columns. Pure text; values travel as parameters or by COPY.

Entries come by COPY straight into `ledger_entry`. What they add to the rollups was summed with them (`lines.Sums`); one more
statement adds it to the daily rollup of their accounts, to the quarter-hourly one of the house, and to the running totals, in the
same transaction. The sums of `MEASURES` over the entries check the rollups later.
"""

from __future__ import annotations

from collections.abc import Iterable

from billing.ledger.entry import ABSORBED, COUNTS, GRANTED, SLOT_S
from billing.ledger.lines import DAY_COLUMNS, SLOT_COLUMNS

STAGED = {"ledger_day_incoming": DAY_COLUMNS, "ledger_slot_incoming": SLOT_COLUMNS}
"""Tables of the connection into which a batch's sums are copied, and their columns."""

_SIGN = "CASE kind WHEN 'reversal' THEN -1 ELSE 1 END"

MEASURES = {
    "calls": f"sum({_SIGN})",
    "estimated_calls": f"coalesce(sum({_SIGN}) FILTER (WHERE estimated_reason IS NOT NULL), 0)",
    "calls_without_buy_price": f"coalesce(sum({_SIGN}) FILTER (WHERE buy_cost IS NULL), 0)",
    **{name: f"sum({name})" for name in (*COUNTS, *GRANTED, *ABSORBED)},
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

SLOT_MINUTES = SLOT_S // 60

_SLOT = f"date_bin('{SLOT_MINUTES} minutes', accepted_at, '2000-01-01Z')"
SLOT_KEY = {"slot": _SLOT, "model": "model"}
"""What entries of one row of `ledger_slot` have in common, and how it is read off an entry."""

_TOTAL_KEY = ("account_id", "billing_month", "key_id")
_TYPES = {"day": "date", "slot": "timestamptz", "discount": "numeric"}


def _type_of(column: str) -> str:
    if column in MEASURES or column == "entries":
        return "numeric" if column.endswith("cost") else "bigint"
    return _TYPES.get(column, "numeric" if column.endswith("_price") else "text")


def stage() -> list[str]:
    """Makes the tables of `STAGED`; they are empty again after each transaction."""
    return [
        f"CREATE TEMPORARY TABLE IF NOT EXISTS {table} ({', '.join(f'{name} {_type_of(name)}' for name in columns)}) "
        "ON COMMIT DELETE ROWS"
        for table, columns in STAGED.items()
    ]


def add_staged() -> str:
    """Adds what was copied to the rollups and running totals; takes the chains that were lengthened, an array a column."""
    return f"""
WITH days AS ({_added("ledger_day", "ledger_day_incoming", DAY_KEY, MEASURES)}
), totals AS ({_added("ledger_total", "ledger_day_incoming", _TOTAL_KEY, ("entries", "cost"))}
), slots AS ({_added("ledger_slot", "ledger_slot_incoming", SLOT_KEY, MEASURES)}
)
UPDATE ledger_proof SET entries = chain.entries, head = chain.head
FROM unnest(CAST(:accounts AS text[]), CAST(:months AS text[]), CAST(:entries AS bigint[]), CAST(:heads AS bytea[]))
    AS chain (account_id, booked_month, entries, head)
WHERE ledger_proof.account_id = chain.account_id AND ledger_proof.booked_month = chain.booked_month"""  # noqa: S608 - composed of the names above alone


STATE = """
SELECT (SELECT max(month) FROM closed_month),
    EXISTS (SELECT FROM detached_month WHERE attached_at IS NULL AND partition_month = ANY(CAST(:months AS integer[]))),
    ARRAY(SELECT month FROM unnest(CAST(:months AS integer[])) AS month
        WHERE to_regclass('ledger_entry_' || lpad(month::text, 6, '0')) IS NULL)"""
"""The newest month that is closed, whether one of these is detached, and which of them have no table (`sources.table_of`)."""

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


def rollup_differences(
    table: str, key: dict[str, str], rows_where: str, entries_where: str, source: str = "ledger_entry"
) -> str:
    """The rows of a rollup that differ from the full sum of the entries that belong to them (also: are missing, or too many).

    At most `:rows_max` of them, each with the count of all, its key, and every measure twice: as rolled up, and as summed.
    """
    rolled = f"SELECT {', '.join([*key, *MEASURES])} FROM {table} WHERE {rows_where}"  # noqa: S608 - as above
    summed = ", ".join([*(f"{value} AS {name}" for name, value in key.items()), *_measured(MEASURES)])
    places = ", ".join(str(place) for place in range(1, len(key) + 1))
    differ = " OR ".join(f"rolled.{name} IS DISTINCT FROM summed.{name}" for name in MEASURES)
    both = ", ".join(f"rolled.{name}, summed.{name}" for name in MEASURES)
    return f"""
WITH rolled AS ({rolled}), summed AS (SELECT {summed} FROM {source} WHERE {entries_where} GROUP BY {places})
SELECT count(*) OVER (), {", ".join(key)}, {both} FROM rolled FULL JOIN summed USING ({", ".join(key)})
WHERE {differ} ORDER BY {", ".join(key)} LIMIT :rows_max"""  # noqa: S608 - as above


def _added(table: str, staged: str, key: Iterable[str], measures: Iterable[str]) -> str:
    # In the order of the key: two writers that meet wait for one another instead of dead-locking (traps.md 34).
    names, values = list(key), list(measures)
    order = ", ".join(str(place) for place in range(1, len(names) + 1))
    summed = ", ".join([*names, *(f"sum({name})" for name in values)])
    sums = ", ".join(f"{name} = {table}.{name} + excluded.{name}" for name in values)
    return f"""
    INSERT INTO {table} ({", ".join([*names, *values])}) SELECT {summed} FROM {staged} GROUP BY {order} ORDER BY {order}
    ON CONFLICT ({", ".join(names)}) DO UPDATE SET {sums}"""  # noqa: S608 - as above


def _measured(measures: dict[str, str]) -> list[str]:
    return [f"{expression} AS {name}" for name, expression in measures.items()]
