"""The fair queue: shares by weight whatever others ask for, its bounds, and its order."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from gateway.queue.fair import Entry, FairQueue


def a_queue(
    weights: dict[str, int] | None = None, *, entries_max: int = 10_000, account_max: int = 10_000
) -> FairQueue[int]:
    return FairQueue(weights or {}, entries_max=entries_max, account_max=account_max)


def served(queue: FairQueue[int], count: int) -> list[Entry[int]]:
    out = []
    for _ in range(count):
        entry = queue.first()
        if entry is None:
            break
        queue.remove(entry, served=True)
        out.append(entry)
    return out


def test_one_account_at_fifty_times_the_load_does_not_slow_the_nine_others() -> None:
    queue = a_queue()
    for number in range(500):
        queue.put(number, "hog")
    for number in range(10):
        for account in range(9):
            queue.put(number, f"small-{account}")
    counts = Counter(entry.account_id for entry in served(queue, 100))
    assert counts["hog"] == 10
    assert all(counts[f"small-{account}"] == 10 for account in range(9))


@given(
    st.lists(st.integers(1, 10), min_size=2, max_size=6),
    st.lists(st.tuples(st.integers(0, 5), st.integers(1, 4)), max_size=60),
)
def test_whoever_has_calls_waiting_gets_the_share_of_its_weight(
    weights: list[int], bursts: list[tuple[int, int]]
) -> None:
    """Backlogged accounts, interleaved with bursts of anyone: over a stretch, no share is off by more than a call or two."""
    names = [f"a{place}" for place in range(len(weights))]
    queue = a_queue(dict(zip(names, weights, strict=True)))
    for name, weight in zip(names, weights, strict=True):
        for number in range(40 * weight):
            queue.put(number, name)
    for place, times in bursts:
        for number in range(times):
            queue.put(number, names[place % len(names)])
    rounds = 20
    counts = Counter(entry.account_id for entry in served(queue, rounds * sum(weights)))
    for name, weight in zip(names, weights, strict=True):
        assert abs(counts[name] - rounds * weight) <= weight + 1


def test_a_newcomer_waits_for_nobodys_backlog() -> None:
    queue = a_queue()
    for number in range(1000):
        queue.put(number, "early")
    served(queue, 100)
    queue.put(0, "late")
    assert "late" in {entry.account_id for entry in served(queue, 2)}


def test_an_expensive_call_counts_for_what_it_costs() -> None:
    queue = a_queue()
    for number in range(40):
        queue.put(number, "dear", 4.0)
        queue.put(number, "cheap", 1.0)
    counts = Counter(entry.account_id for entry in served(queue, 50))
    assert counts == {"cheap": 40, "dear": 10}


def test_each_account_has_a_bound_and_the_longest_makes_room_for_a_newcomer() -> None:
    queue = a_queue(entries_max=10, account_max=8)
    entries = [queue.put(number, "hog")[0] for number in range(9)]
    assert entries[8] is None
    assert queue.put(0, "b") != (None, None)
    assert queue.put(1, "b") != (None, None)
    assert len(queue) == 10
    entry, dropped = queue.put(0, "c")
    assert entry is not None
    assert dropped is entries[7]
    assert (len(queue), queue.waiting_of("hog"), queue.waiting_of("c")) == (10, 7, 1)
    assert queue.put(8, "hog") == (None, None)


def test_within_an_account_the_order_is_that_of_coming_and_who_is_put_back_keeps_its_place() -> None:
    queue = a_queue()
    for number in range(5):
        queue.put(number, "a")
    (first,) = served(queue, 1)
    queue.put(first.item, "a", 1.0, first.tag)
    assert [entry.item for entry in served(queue, 9)] == [0, 1, 2, 3, 4]


def test_who_leaves_unserved_costs_its_account_nothing() -> None:
    queue = a_queue()
    gone = [queue.put(number, "a")[0] for number in range(50)]
    for entry in gone:
        assert entry is not None
        queue.remove(entry)
        queue.remove(entry)
    queue.put(1, "a")
    queue.put(2, "b")
    assert len(queue) == 2
    assert {entry.account_id for entry in served(queue, 2)} == {"a", "b"}
    assert queue.first() is None


@given(st.lists(st.tuples(st.integers(0, 3), st.sampled_from(["put", "serve", "leave"])), max_size=200))
def test_the_count_is_what_was_put_less_what_went_and_the_bounds_hold(steps: list[tuple[int, str]]) -> None:
    queue, inside = a_queue(entries_max=12, account_max=5), list[Entry[int]]()
    for place, step in steps:
        if step == "put":
            entry, dropped = queue.put(0, f"a{place}")
            if dropped is not None:
                inside.remove(dropped)
            if entry is not None:
                inside.append(entry)
        elif step == "serve":
            for entry in served(queue, 1):
                inside.remove(entry)
        elif inside:
            queue.remove(inside.pop(place % len(inside)))
        assert len(queue) == len(inside) <= 12
        assert all(queue.waiting_of(f"a{each}") <= 5 for each in range(4))
        assert set(queue.in_order()) == set(inside)
