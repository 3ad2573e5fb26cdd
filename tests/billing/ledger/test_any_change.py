"""Any one entry altered, dropped, added or moved is found: at every place of some hundred (the bench has a hundred thousand)."""

from __future__ import annotations

import random

from tests.bench.ledger.proof import rows_of, undetected, walked


def test_every_place_of_a_month_spoiled_in_every_way_is_found_and_a_true_month_raises_no_alarm() -> None:
    rows = rows_of(300)
    assert undetected(rows) == {"altered": [], "dropped": [], "added": [], "moved": []}
    assert walked(rows, random.Random(1), 12) == (12, 12)


def test_what_is_not_in_the_chain_at_all_would_not_be_found() -> None:
    rows = rows_of(3)
    rows[1] = rows[0]  # the same entry twice: moving one past the other changes nothing
    assert undetected(rows)["moved"] == [0]
