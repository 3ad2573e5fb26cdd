"""The file of results: each part of it is replaced without the others."""

from __future__ import annotations

from tests.bench.report import Part
from tests.bench.results import BY_HAND, OPENING, with_block, with_tables

PART = Part("Title", ("a", "b"), [("1", "2")], "Note.")
START = f"{OPENING}old tables\n\n{BY_HAND}\nBy hand.\n"


def test_the_tables_are_replaced_and_all_else_stays() -> None:
    with_long = with_block(START, "Long", ["fact"], [PART])
    for before in (START, with_long):
        after = with_tables(before, "new tables\n")
        assert after == before.replace("old tables", "new tables")


def test_a_block_takes_the_place_of_the_last_one_of_its_name() -> None:
    one = with_block(with_block(START, "One", ["first"], [PART]), "Two", ["second"], [PART])
    again = with_block(one, "One", ["third"], [PART])
    assert again == one.replace("first", "third")
    assert "### One\n\n- third\n\n**Title**\n\nNote.\n\n| a | b |\n| --- | --- |\n| 1 | 2 |\n\n### Two\n" in again
    assert again.endswith(f"\n\n{BY_HAND}\nBy hand.\n")


def test_a_file_that_is_not_there_yet_is_begun() -> None:
    assert with_tables("", "tables\n") == f"{OPENING}tables\n\n{BY_HAND}"
