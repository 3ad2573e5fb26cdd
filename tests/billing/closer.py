"""A closer in a process of its own, so that a test can kill it: `python -m tests.billing.closer <database> <month> <closed at>`."""

from __future__ import annotations

import asyncio
import sys
from datetime import datetime

from billing.close import close_month
from billing.database import open_engine, sessions_of
from billing.periods import Month
from tests.billing.months import ACTOR, GRACE_S


async def main(url: str, month: str, now: str) -> None:
    engine = open_engine(url, connections_max=2)
    closed = await close_month(
        sessions_of(engine),
        Month.parse(month),
        datetime.fromisoformat(now),
        draft=False,
        grace_s=GRACE_S,
        actor=ACTOR,
        progress=lambda done, of: print(done, of, flush=True),
        together=2,
    )
    await engine.dispose()
    print("closed", len(closed.invoices), flush=True)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
