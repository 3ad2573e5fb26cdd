"""The tables of models agree with one another, and with those of the simulated Solar, which follows upstage-api.md on its own."""

from __future__ import annotations

import pytest

from gateway.meter.sizes import EFFORTS, SIZES, SUCCESSORS, effort_for, family_of
from gateway.sandbox.solar.mind.models import CHAT_MODELS, ChatModel


@pytest.mark.parametrize("model", CHAT_MODELS, ids=lambda model: model.alias)
def test_every_effort_that_is_sent_is_one_that_the_model_takes(model: ChatModel) -> None:
    for name in (model.alias, model.snapshot):
        for effort in ("none", "minimal", "low", "medium", "high", "xhigh", "max"):
            sent = effort_for(name, effort)
            assert sent is None or sent in model.efforts_on | model.efforts_off
        assert (effort_for(name, "high") is None) == (not model.efforts_on)


def test_an_effort_that_is_on_never_becomes_one_that_is_off() -> None:
    for model in CHAT_MODELS:
        for effort in ("medium", "high", "xhigh", "max"):
            sent = effort_for(model.alias, effort)
            assert sent is None or sent in model.efforts_on


@pytest.mark.parametrize(
    ("name", "family"),
    [
        ("solar-pro4", "solar-pro4"),
        ("solar-pro4-260806", "solar-pro4"),
        ("solar-mini-250422", "solar-mini"),
        ("solar-mini4", "solar-mini4"),
        ("solar-next-260101", "solar-next-260101"),
        ("solar-pro4-preview", "solar-pro4-preview"),
        ("", ""),
    ],
)
def test_a_dated_snapshot_belongs_to_its_alias(name: str, family: str) -> None:
    assert family_of(name) == family


def test_no_retired_model_is_followed_by_another_retired_one() -> None:
    assert not set(SUCCESSORS.values()) & set(SUCCESSORS)
    assert set(SUCCESSORS.values()) <= set(SIZES)


def test_every_model_with_efforts_has_a_size_or_is_not_found_in_any_table() -> None:
    assert set(EFFORTS) - set(SIZES) == {"syn-pro"}
    assert all(size.context_tokens >= size.output_tokens_max >= 0 for size in SIZES.values())
