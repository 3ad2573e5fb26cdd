"""Accounts at the command line: what is named is sent, what is not named is left alone."""

from __future__ import annotations

import pytest

from tests.gateway.cli.office import QUESTION, Office
from tests.waiting import wait_until

_SEEN_S = 3
"""A worker sees a change after a second at the latest; the rest is for a slow machine."""


def test_an_account_is_created_with_what_was_named_and_the_gateways_defaults(office: Office) -> None:
    words = (
        "--currency",
        "KRW",
        "--timezone",
        "UTC",
        "--concurrency",
        "4",
        "--tax-country",
        "KR",
        "--tax-number",
        "120-81-47521",
    )
    account = office.json("accounts", "create", "Hanbit", "--kind", "club", *words)
    limits = {"requests_per_minute": None, "tokens_per_minute": None, "concurrency": 4}
    expected = {"kind": "club", "currency": "KRW", "timezone": "UTC", "billing": "invoice", "limits": limits}
    assert expected.items() <= account.items()
    assert account["tax"] == {"country": "KR", "registration_number": "120-81-47521"}


def test_a_korean_number_whose_check_digit_is_wrong_is_refused_at_once_and_nothing_is_written(office: Office) -> None:
    wrong = ("--tax-country", "KR", "--tax-number", "120-81-47522")
    before = len(office.json("accounts", "list")["data"])
    code, line = office.refused("accounts", "create", "Wrong", *wrong)
    assert (code, "tax.registration_number" in line, "check digit" in line) == (1, True, True)
    assert len(office.json("accounts", "list")["data"]) == before
    account = office.json("accounts", "create", "Abroad", "--tax-country", "US", "--tax-number", "120-81-47522")
    assert office.refused("accounts", "change", account["id"], *wrong)[0] == 1
    assert office.json("accounts", "show", account["id"])["tax"]["country"] == "US"


def test_a_change_touches_only_what_was_named_and_none_lifts_a_cap(office: Office) -> None:
    account = office.json("accounts", "create", "Capped", "--monthly-cap", "50.00", "--concurrency", "4")
    changed = office.json("accounts", "change", account["id"], "--name", "Renamed", "--monthly-cap", "none")
    assert changed == {**account, "name": "Renamed", "monthly_cap": None}


def test_the_three_limits_are_changed_together_or_not_at_all(office: Office) -> None:
    account = office.json("accounts", "create", "Limited", "--tokens-per-minute", "7000")
    code, line = office.refused("accounts", "change", account["id"], "--concurrency", "4")
    assert (code, line.partition(":")[0]) == (2, "--requests-per-minute")
    assert office.json("accounts", "show", account["id"]) == account
    three = ("--concurrency", "4", "--requests-per-minute", "none", "--tokens-per-minute", "9000")
    changed = office.json("accounts", "change", account["id"], *three)
    assert changed["limits"] == {"requests_per_minute": None, "tokens_per_minute": 9000, "concurrency": 4}


def test_a_model_gets_limits_of_its_own_that_stay_when_others_are_changed_and_are_lifted_by_none(
    office: Office,
) -> None:
    words = ("--concurrency", "9", "--model-limit", "solar-pro4:requests-per-minute=1,concurrency=2")
    account = office.json(
        "accounts", "create", "By model", *words, "--model-limit", "solar-mini4:tokens-per-minute=500"
    )
    pro4 = {"requests_per_minute": 1, "tokens_per_minute": None, "concurrency": 2}
    mini4 = {"requests_per_minute": None, "tokens_per_minute": 500, "concurrency": None}
    three = {"requests_per_minute": None, "tokens_per_minute": None, "concurrency": 9}
    assert account["limits"] == {**three, "models": {"solar-pro4": pro4, "solar-mini4": mini4}}
    key = office.json("keys", "create", account["id"], "k", "--model-limit", "solar-pro4:concurrency=1")
    assert key["limits"]["models"] == {"solar-pro4": {**dict.fromkeys(pro4), "concurrency": 1}}
    with office.gateway.caller(key["secret"]) as caller:
        statuses = [caller.post("/chat/completions", json=QUESTION).status_code for _ in range(2)]
        assert statuses == [200, 429]
    numbers = ("--concurrency", "8", "--requests-per-minute", "none", "--tokens-per-minute", "none")
    changed = office.json("accounts", "change", account["id"], *numbers)
    assert changed["limits"] == {**three, "concurrency": 8, "models": {"solar-pro4": pro4, "solar-mini4": mini4}}
    changed = office.json("accounts", "change", account["id"], "--model-limit", "solar-pro4:none")
    assert changed["limits"] == {**three, "concurrency": 8, "models": {"solar-mini4": mini4}}
    lifted = office.json("keys", "change", key["id"], "--model-limit", "solar-pro4:none")
    assert lifted["limits"] == dict.fromkeys(pro4)
    for wrong in ("solar-pro4", "solar-pro4:speed=1", "solar-pro4:concurrency=x", ":concurrency=1"):
        code, line = office.refused("accounts", "change", account["id"], "--model-limit", wrong)
        assert (code, line.partition(":")[0]) == (2, "--model-limit")


def test_a_suspended_account_is_refused_until_it_is_restored(office: Office) -> None:
    account = office.json("accounts", "create", "Late payer")
    with office.gateway.caller(office.gateway.key(account["id"])) as caller:
        office.does("accounts", "suspend", account["id"])
        assert caller.post("/chat/completions", json=QUESTION).json()["error"]["code"] == "account_suspended"
        office.does("accounts", "restore", account["id"])
        wait_until(lambda: caller.get("/account").is_success, _SEEN_S, "every worker sees that it is restored")


@pytest.mark.parametrize(
    ("words", "names"),
    [
        ((), "nothing to change"),
        (("--tax-number", "123"), "--tax-country"),
        (("--concurrency", "many", "--requests-per-minute", "1", "--tokens-per-minute", "1"), "'many'"),
    ],
)
def test_a_change_that_cannot_be_meant_is_not_sent(office: Office, words: tuple[str, ...], names: str) -> None:
    account = office.json("accounts", "create", "Unchanged")
    code, line = office.refused("accounts", "change", account["id"], *words)
    assert code == 2
    assert names in line
    assert office.json("accounts", "show", account["id"]) == account


def test_a_name_with_markup_and_control_letters_is_printed_as_it_is_and_steers_no_terminal(office: Office) -> None:
    account = office.json("accounts", "create", "[red]Kim[/red] \x1b[2J")
    text = office.does("accounts", "show", account["id"])
    assert "[red]Kim[/red] \ufffd[2J" in text
    assert "\x1b" not in text
