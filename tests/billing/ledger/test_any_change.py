"""Any one entry altered, dropped, added or moved is found: at every place of some hundred (the bench has a hundred thousand)."""

from __future__ import annotations

import random

import pytest

from tests.bench.ledger.proof import VERIFIERS, Verifier, statement_of, undetected, walked

each_verifier = pytest.mark.parametrize("by", VERIFIERS, ids=lambda by: by.name)


@each_verifier
def test_every_place_of_a_month_spoiled_in_every_way_is_found_and_a_true_month_raises_no_alarm(by: Verifier) -> None:
    assert undetected(by, *statement_of(300)) == {"altered": [], "dropped": [], "added": [], "moved": []}


def test_spoiled_statements_are_found_at_the_root_by_both_verifiers() -> None:
    entries, stated = statement_of(200)
    assert walked(entries, stated, random.Random(1), 12) == 12


@each_verifier
def test_what_is_not_in_the_chain_at_all_would_not_be_found(by: Verifier) -> None:
    (first, _, last), _ = statement_of(3)
    entries = [first, first, last]  # the same entry twice: moving one past the other changes nothing
    value = by.begin
    for entry in entries:
        value = by.link(value, by.leaf(entry))
    assert undetected(by, entries, by.root(value, 3))["moved"] == [0]


@each_verifier
def test_a_statement_that_leads_elsewhere_is_an_alarm(by: Verifier) -> None:
    entries, _ = statement_of(3)
    with pytest.raises(SystemExit, match="false alarm"):
        undetected(by, entries, "0" * 64)
