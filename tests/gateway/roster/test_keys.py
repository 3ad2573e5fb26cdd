"""The one setting that names our upstream keys: what it may say, what it means, and that its errors hold no secret."""

from __future__ import annotations

import pytest

from gateway.roster.keys import read_roster
from gateway.settings import SettingsError, read_settings

BASE = "https://api.upstage.ai/v1/"


def test_plain_keys_get_names_that_tell_nothing_of_them() -> None:
    first, second = read_roster(" up_one , up_two,", BASE)
    assert (first.secret, first.base_url, first.weight) == ("up_one", BASE.rstrip("/"), 1)
    assert first.name != second.name
    assert "one" not in first.name
    assert "up_one" not in repr(first)
    assert read_roster("up_one", "https://elsewhere/v1")[0].name == first.name


def test_a_key_may_have_a_name_a_weight_and_an_address_of_its_own() -> None:
    main, spare = read_roster("main*3=up_abc, spare=up_def@http://127.0.0.1:9/v1/", BASE)
    assert (main.name, main.weight, main.secret, main.base_url) == ("main", 3, "up_abc", BASE.rstrip("/"))
    assert (spare.name, spare.weight, spare.secret, spare.base_url) == ("spare", 1, "up_def", "http://127.0.0.1:9/v1")


def test_without_keys_there_is_one_that_sends_none() -> None:
    (key,) = read_roster(" , ", BASE)
    assert (key.secret, key.base_url) == ("", BASE.rstrip("/"))


@pytest.mark.parametrize(
    "text",
    [
        "a=up_secret,a=up_other",
        "up_secret,up_secret",
        "a*0=up_secret",
        "a*101=up_secret",
        "up_secret with space",
        "up_secrét",
        ",".join(f"k{n}=up_secret{n}" for n in range(65)),
    ],
)
def test_what_cannot_be_right_is_one_clear_line_without_a_secret(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("GATEWAY_UPSTREAM_KEYS", text)
    with pytest.raises(SettingsError) as told:
        read_settings()
    assert str(told.value).startswith("GATEWAY_UPSTREAM_KEYS: ")
    assert "secr" not in str(told.value)
    assert "\n" not in str(told.value)


def test_upstages_own_variable_is_the_key_where_ours_is_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UPSTAGE_API_KEY", "up_theirs")
    monkeypatch.delenv("GATEWAY_UPSTREAM_KEYS", raising=False)
    assert [key.secret for key in read_settings().upstream_roster()] == ["up_theirs"]
    monkeypatch.setenv("GATEWAY_UPSTREAM_KEYS", "up_ours")
    assert [key.secret for key in read_settings().upstream_roster()] == ["up_ours"]


def test_weights_of_accounts_are_read_and_wrong_ones_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATEWAY_UPSTREAM_QUEUE_WEIGHTS", "acc-1=3, acc-2=10")
    assert read_settings().upstream_queue_weights == {"acc-1": 3, "acc-2": 10}
    for wrong in ("acc-1", "acc-1=0", "acc-1=x", "=3", "acc-1=101"):
        monkeypatch.setenv("GATEWAY_UPSTREAM_QUEUE_WEIGHTS", wrong)
        with pytest.raises(SettingsError, match="GATEWAY_UPSTREAM_QUEUE_WEIGHTS"):
            read_settings()
