"""Named operators: each role opens what the table says and nothing more, the audit log names who did it, a revoked token opens nothing."""

from __future__ import annotations

import itertools
from typing import Any

import httpx
import pytest

from gateway.operators.roles import ROUTES
from tests.running import Gateway

_numbers = itertools.count()


def named(gateway: Gateway, role: str, **fields: Any) -> tuple[Any, httpx.Client]:
    """A new operator and its client."""
    made = gateway.post("/operators", {"name": f"{role} {next(_numbers)}", "role": role, **fields})
    headers = {"authorization": f"Bearer {made['secret']}"}
    return made, httpx.Client(base_url=f"{gateway.url}/operator/v1", headers=headers, timeout=30, trust_env=False)


def refused(answer: httpx.Response, status: int, code: str) -> bool:
    return answer.status_code == status and answer.json()["error"]["code"] == code


@pytest.mark.parametrize("role", ["finance", "support"])
def test_a_role_is_let_in_where_the_table_says_so_and_nowhere_else(gateway: Gateway, role: str) -> None:
    _, client = named(gateway, role)
    for route, roles in ROUTES.items():
        method, _, path = route.partition(" ")
        answer = client.request(method, path.replace("{month}", "2099-01"), json={} if method != "GET" else None)
        assert refused(answer, 403, "operator_not_allowed") == (role not in roles), (route, answer.text)
        assert answer.status_code != 500, route


def test_support_reads_an_account_and_cannot_change_it(gateway: Gateway) -> None:
    account = gateway.account()["id"]
    _, support = named(gateway, "support")
    assert support.get(f"/accounts/{account}").json()["id"] == account
    changed = support.patch(f"/accounts/{account}", json={"status": "closed"})
    assert refused(changed, 403, "operator_not_allowed")
    assert support.get(f"/accounts/{account}").json()["status"] == "active"


def test_an_admin_may_do_all_and_the_audit_log_names_it(gateway: Gateway) -> None:
    made, admin = named(gateway, "admin")
    account = admin.post("/accounts", json={"name": "by name"}).json()["id"]
    gateway.operator.patch(f"/accounts/{account}", json={"name": "by the token of the environment"})
    log = admin.get("/audit", params={"subject": account}).json()["data"]
    assert [(entry["action"], entry["actor"]) for entry in log] == [
        ("account.change", "operator"),
        ("account.create", made["name"]),
    ]
    assert [entry["subject"] for entry in admin.get("/audit", params={"actor": made["name"]}).json()["data"]] == [
        account
    ]


def test_the_audit_log_is_read_a_page_at_a_time_and_newest_first(gateway: Gateway) -> None:
    _, finance = named(gateway, "finance")
    everything = finance.get("/audit", params={"limit": 1000}).json()["data"]
    first = finance.get("/audit", params={"limit": 1}).json()
    second = finance.get("/audit", params={"limit": 1, "after": first["next"]}).json()
    assert [*first["data"], *second["data"]] == everything[:2]
    assert refused(finance.get("/audit", params={"after": "1 or 1=1"}), 400, "invalid_request_body")


def test_a_revoked_or_expired_token_opens_nothing_from_the_next_request_on(gateway: Gateway) -> None:
    made, support = named(gateway, "support")
    assert support.get("/accounts").is_success
    assert gateway.operator.delete(f"/operators/{made['id']}").json()["revoked_at"] is not None
    assert refused(support.get("/accounts"), 401, "invalid_operator_token")
    _, late = named(gateway, "admin", expires_at="2020-01-01T00:00:00Z")
    assert refused(late.get("/accounts"), 401, "invalid_operator_token")


def test_a_token_is_shown_once_and_a_name_is_one_living_operators(gateway: Gateway) -> None:
    made, _ = named(gateway, "support")
    listed = gateway.operator.get("/operators").text
    assert made["id"] in listed
    assert made["secret"] not in listed
    again = gateway.operator.post("/operators", json={"name": made["name"], "role": "admin"})
    assert refused(again, 409, "operator_name_taken")
    gateway.operator.delete(f"/operators/{made['id']}")
    assert gateway.post("/operators", {"name": made["name"], "role": "admin"})["role"] == "admin"


@pytest.mark.parametrize(
    "body", [{"name": "x", "role": "root"}, {"name": "operator", "role": "admin"}, {"name": " ", "role": "admin"}]
)
def test_a_role_or_a_name_that_cannot_be_is_refused_clearly(gateway: Gateway, body: dict[str, str]) -> None:
    assert refused(gateway.operator.post("/operators", json=body), 400, "invalid_request_body")


def test_neither_a_gateway_key_nor_a_guess_opens_the_operators_api(gateway: Gateway) -> None:
    for token in (gateway.new_key(), "op-solar-" + "A" * 43, "x", "operator"):
        answer = httpx.get(
            f"{gateway.url}/operator/v1/accounts", headers={"authorization": f"Bearer {token}"}, trust_env=False
        )
        assert refused(answer, 401, "invalid_operator_token")
