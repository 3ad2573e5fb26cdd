"""`--json` is the API's own answer, byte for byte; lists are fetched to their end, within a bound."""

from __future__ import annotations

import pytest

from gateway.cli.operator_client import OperatorClient
from tests.gateway.cli.office import Office
from tests.running import Gateway


@pytest.fixture(scope="module")
def account(gateway: Gateway) -> str:
    """An account with a key and a contribution."""
    office = Office(gateway)
    made = str(office.json("accounts", "create", "Answered")["id"])
    office.does("keys", "create", made, "first")
    office.does("club", "contribute", made, "--dataset", "essays", "--words", "8", "--tokens", "9")
    return made


@pytest.mark.parametrize(
    ("words", "path"),
    [
        ("accounts show {account}", "/accounts/{account}"),
        ("keys list {account}", "/accounts/{account}/keys"),
        ("club contributions {account}", "/accounts/{account}/contributions"),
        ("club manifests", "/training-manifests"),
        ("prices list", "/rate-cards"),
        ("prices fx-list", "/fx-rates"),
        ("shares plans", "/share-plans"),
        ("shares list", "/shares"),
        ("invoices list --month 2026-01", "/invoices?month=2026-01"),
        ("usage --by day --account {account}", "/usage?group_by=day&account={account}"),
    ],
)
def test_json_is_the_apis_answer_and_nothing_else(office: Office, account: str, words: str, path: str) -> None:
    said = office.does(*words.format(account=account).split(), "--json")
    assert said == office.gateway.operator.get(path.format(account=account)).text + "\n"


def test_a_list_is_fetched_page_after_page_and_loses_nothing(office: Office) -> None:
    made = [office.gateway.account()["id"] for _ in range(7)]
    with OperatorClient(office.gateway.url, office.gateway.operator_token, page_rows=3) as client:
        paged = client.listed("accounts", rows_max=100_000).value
    whole = office.gateway.operator.get("/accounts", params={"limit": 1000}).json()
    assert whole["next"] is None
    assert paged == whole
    assert set(made) <= {row["id"] for row in paged["data"]}


def test_a_list_ends_at_its_bound_and_says_that_there_is_more(office: Office) -> None:
    for _ in range(5):
        office.gateway.account()
    with OperatorClient(office.gateway.url, office.gateway.operator_token, page_rows=2) as client:
        page = client.listed("accounts", rows_max=3).value
    assert len(page["data"]) == 3
    assert page["next"] == page["data"][-1]["id"]
    said = office.run("accounts", "list", "--limit", "3")
    assert "There are more than these 3" in said.stderr
    assert office.json("accounts", "list", "--limit", "3") == page


def test_days_are_the_days_that_the_gateway_counts(office: Office) -> None:
    days = ("--from", "2026-01-01", "--to", "2026-02-01")
    assert office.json("usage", "--by", "day", *days)["total"]["calls"] == 0
    code, line = office.refused("usage", "--from", "yesterday")
    assert (code, line) == (1, "invalid_request_body: from: must be a day such as 2026-10-31.")
