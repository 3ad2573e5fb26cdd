"""The bench's own arithmetic: medians, ratios, percentiles, shares of a profile, memory that grows, CPU that children spent."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys

import pytest

from tests.bench import calls, processes
from tests.bench.endurance import growth_ratio, thinned
from tests.bench.hotspots import read_stacks
from tests.bench.measures import Figures, Measured, Scale
from tests.bench.report import parts_of, to_markdown

_SPENDS = "import time\nwhile time.process_time() < 0.3: pass"


def figures(*rounds: tuple[float, float, float]) -> Figures:
    found = Figures()
    for count, cpu_s, seconds in rounds:
        found.add(count, cpu_s, seconds)
    return found


def test_a_figure_is_the_median_of_its_rounds_and_one_bad_round_does_not_move_it() -> None:
    found = figures((1000, 0.1, 1.0), (1000, 0.12, 1.0), (10, 5.0, 9.0))
    assert found.median_cpu_us == pytest.approx(120)
    assert found.median_per_second == pytest.approx(1000)
    assert found.median_busy_ratio == pytest.approx(0.12)


def test_the_tables_show_each_target_beside_the_floor_of_the_same_run() -> None:
    found = Measured(
        saturation={"nginx": figures((1000, 0.025, 1.0)), "gateway": figures((1000, 0.1, 2.0))},
        latencies_s={name: [ms / 1000] * 100 for name, ms in (("mock", 1.0), ("nginx", 1.5), ("gateway", 3.0))},
    )
    text = to_markdown(["a fact"], parts_of(found, Scale(), "wrk"))
    assert "| nginx | 1,000 | 25.0 | 1.00 × | 2% |" in text
    assert "| gateway | 500 | 100.0 | 4.00 × | 5% |" in text
    assert "| gateway | 3.00 | 3.00 | 2.00 | 2.00 |" in text


def test_without_a_floor_there_is_no_ratio() -> None:
    found = Measured(saturation={"gateway": figures((1, 1.0, 1.0))}, latencies_s={"mock": [0.1] * 100})
    assert "| gateway | 1 | 1000000.0 | – | 100% |" in to_markdown([], parts_of(found, Scale(), "wrk"))


def test_a_profile_counts_for_the_deepest_function_of_ours() -> None:
    main = "main (gateway/processes/worker.py:53);"
    spots = read_stacks(
        f"{main}carry (gateway/journey.py:90);encode (json/encoder.py:1) 3\n"
        f"{main}carry (gateway/journey.py:90) 1\n"
        "elsewhere (threading.py:1) 96\n"
    )
    assert spots.samples == 4
    assert spots.own_functions == [("carry (gateway/journey.py:90)", 1.0)]
    assert spots.functions[0] == ("encode (json/encoder.py:1)", 0.75)


def test_memory_that_stays_has_no_growth_and_memory_that_doubles_shows() -> None:
    assert growth_ratio([(at, 100) for at in range(9)]) == 0
    assert growth_ratio([(0, 100), (1, 150), (2, 200)]) == pytest.approx(1.0)
    assert growth_ratio([(0, 100)]) == 0


def test_samples_are_thinned_evenly_between_the_first_and_the_last() -> None:
    samples = [(float(at), at) for at in range(100)]
    shown = thinned(samples, 12)
    assert len(shown) == 12
    assert (shown[0], shown[-1]) == (samples[0], samples[-1])
    gaps = [later[0] - earlier[0] for earlier, later in itertools.pairwise(shown)]
    assert max(gaps) - min(gaps) <= 1
    assert thinned(samples[:5], 12) == samples[:5]


def test_what_a_child_spent_is_its_parents_cost_even_after_its_end() -> None:
    before = processes.cpu_s([os.getpid()], with_children=True)
    subprocess.run([sys.executable, "-c", _SPENDS], check=True)
    assert processes.cpu_s([os.getpid()], with_children=True) - before >= 0.25


def test_two_cores_are_split_and_one_is_shared() -> None:
    cores = processes.Cores.split()
    assert cores.measured
    assert cores.others
    assert cores.apart == (len(os.sched_getaffinity(0)) > 1)


@pytest.mark.parametrize("number", range(64))
def test_the_answer_that_is_checked_is_the_answer_that_is_sent(number: int) -> None:
    body, tokens = calls.answer(number)
    assert len(body) == calls.ANSWER_BYTES
    assert calls.is_answer(body)
    assert f'"completion_tokens":{tokens}'.encode() in body
    assert not calls.is_answer(body[:-1])
    assert not calls.is_answer(body.replace(b'{"id"', b'{"iq"'))


def test_a_stream_cut_short_by_one_event_is_no_stream() -> None:
    asked = calls.stream_asked(calls.stream_body(calls.Stream(events=3, gap_ms=7)))
    assert asked == calls.Stream(3, 7)
    assert calls.stream_asked(calls.whole_body()) is None
    sent = calls.CONTENT_EVENT * 2 + calls.usage_event(12)
    assert calls.is_stream(sent, 3)
    assert not calls.is_stream(sent[len(calls.CONTENT_EVENT) :], 3)
    assert not calls.is_stream(sent.removesuffix(b"data: [DONE]\n\n"), 3)


@pytest.mark.parametrize(
    ("configure_arguments", "said"),
    [
        ("'--enable-shared' '--enable-optimizations' '--with-lto'", "built with --enable-optimizations"),
        (
            "'--prefix=/usr' '--with-wheel-pkg-dir=/usr/share/python-wheels/'",
            "Debian's package, optimised by its own rules",
        ),
        ("'--enable-shared'", "built without --enable-optimizations"),
        ("", "built without --enable-optimizations"),
    ],
)
def test_the_header_says_whether_its_python_is_an_optimised_build(configure_arguments: str, said: str) -> None:
    assert processes.said_build(configure_arguments) == said
