"""How long the close of a large month takes, and how much memory: `python -m tests.bench.month [accounts] [calls]`.

The ledger is filled where a close reads it: with the daily rollup of so many accounts and calls (30 days, 2 models, 2 discounts), and
with how far each account's proof has come. Everything else is real: a Postgres of its own, checks, sealing, invoices with gapless
numbers, half of them in won with VAT, and shares among a hundredth of the accounts, who gave text.
"""

from __future__ import annotations

import asyncio
import resource
import sys
import tempfile
import time
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

from sqlalchemy import text

from billing.accounts import store as accounts
from billing.close import close_month
from billing.club.store import accept
from billing.database import Sessions, open_engine, sessions_of
from billing.fx import set_rate
from billing.periods import Month
from billing.share.store import add_plan
from gateway.migrate import migrate
from gateway.sandbox.stores import Stores

_NOW, _BEFORE = datetime(2026, 11, 2, tzinfo=UTC), datetime(2026, 9, 2, tzinfo=UTC)
_DAYS = 30
_ROLLUP = """
INSERT INTO ledger_day (account_id, day, booked_month, billing_month, zone, key_id, model, card_id, discount,
  input_price, cached_input_price, output_price, standard_price, enhanced_price, calls, estimated_calls, calls_without_buy_price,
  input_tokens, cached_input_tokens, output_tokens, standard_pages, enhanced_pages, granted_input_tokens,
  granted_cached_input_tokens, granted_output_tokens, absorbed_input_tokens, absorbed_cached_input_tokens, absorbed_output_tokens,
  absorbed_standard_pages, absorbed_enhanced_pages, list_cost, cost, buy_cost, absorbed_buy_cost)
SELECT a.id, DATE '2026-10-01' + d, '2026-10', '2026-10', 'Asia/Seoul', 'key_1', m, 'card_1', off, 0.30, 0.06, 1.20, 0, 0,
  n, 0, 0, n * 1000, 0, n * 200, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
  n * 0.00054, n * 0.00054 * (1 - off), 0, 0
FROM account a, CAST(:calls AS bigint) n, generate_series(0, CAST(:days AS integer) - 1) d,
  unnest(ARRAY['solar-pro4', 'solar-mini']) m, unnest(ARRAY[0, 0.1]) off
"""


_PROOFS = """
INSERT INTO ledger_proof (account_id, booked_month, entries, head)
SELECT id, '2026-10', CAST(:calls AS bigint), sha256(CAST(id AS bytea)) FROM account
"""


async def fill(sessions: Sessions, count: int, calls: int) -> int:
    """Accounts, and the rollup of their calls; returns how many calls it stands for."""
    async with sessions.begin() as session:
        for number in range(count):
            fields = {"currency": "KRW", "tax_country": "KR"} if number % 2 else {}
            row = await accounts.create(session, {"name": f"account {number}", **fields}, "bench", _BEFORE)
            if number % 100 == 0:
                text_given = {"dataset": "news", "words": 1_000, "tokens": 1_000 + number, "accepted_at": _BEFORE}
                await accept(session, row.id, text_given, 12, "bench", _BEFORE)
        await add_plan(session, {"effective_month": "2026-10", "pool_rate": "0.20"}, "bench", _BEFORE)
        await set_rate(session, date(2026, 10, 31), "USD/KRW", Decimal("1385.5"))
    each = max(1, calls // (count * _DAYS * 4))
    async with sessions.begin() as session:
        await session.execute(text(_ROLLUP), {"calls": each, "days": _DAYS})
        await session.execute(text(_PROOFS), {"calls": each * _DAYS * 4})
    return each * count * _DAYS * 4


async def main(count: int = 2000, calls: int = 10_000_000) -> None:
    with tempfile.TemporaryDirectory() as directory:
        async with Stores.open(Path(directory)) as stores:
            await asyncio.to_thread(migrate, stores.database_url)
            engine = open_engine(stores.database_url, connections_max=4)
            sessions = sessions_of(engine)
            stands_for = await fill(sessions, count, calls)
            before, begun = _peak_mib(), time.monotonic()
            closed = await close_month(
                sessions,
                Month(2026, 10),
                _NOW,
                draft=False,
                grace_s=0,
                actor="bench",
                progress=lambda done, of: None,
            )
            took = time.monotonic() - begun
            print(
                f"{len(closed.invoices):,} invoices over {stands_for:,} calls closed in {took:.1f} s; "
                f"peak memory {before:.0f} MiB before, {_peak_mib():.0f} MiB after"
            )
            await engine.dispose()


def _peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    asyncio.run(main(*map(int, sys.argv[1:])))
