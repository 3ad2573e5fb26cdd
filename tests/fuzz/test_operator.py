"""The operator's and the caller's ordinary routes: odd values at every place, and whatever schemathesis makes of our own OpenAPI."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import httpx
import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from schemathesis.core.result import Ok
from schemathesis.generation import GenerationMode
from schemathesis.schemas import APIOperation

from tests.fuzz.odd import BROKEN_BODIES, ODD_WORDS, with_odd_values
from tests.running import Gateway

LIMITS = {"requests_per_minute": 9, "tokens_per_minute": 9, "concurrency": 9}
TERMS = {"name": "n", "monthly_cap": "1", "limits": LIMITS}
PAYS = {"prepaid_balance": "1", "tax": {"country": "KR", "registration_number": "1208147521"}, "owner_group": "g"}
PRICE = {"input": "1", "cached_input": "1", "output": "1", "page": {"standard": "1"}, "aliases": ["zz-alias"]}
BODIES: dict[tuple[str, str], dict[str, Any]] = {
    ("POST", "/accounts"): {
        **TERMS,
        **PAYS,
        "kind": "club",
        "currency": "USD",
        "timezone": "UTC",
        "billing": "invoice",
    },
    ("PATCH", "/accounts/{account}"): {**TERMS, **PAYS, "status": "active"},
    ("POST", "/accounts/{account}/keys"): {
        **TERMS,
        "expires_at": "2030-01-01T00:00:00Z",
        "scopes": {"models": ["a"], "endpoints": ["chat"]},
    },
    ("POST", "/accounts/{account}/contributions"): {
        "dataset": "d",
        "words": 1,
        "tokens": 1,
        "quality": "1.0",
        "accepted_at": "2026-01-01T00:00:00Z",
        "note": "n",
    },
    ("POST", "/rate-cards"): {
        "effective_at": "2030-01-01T00:00:00Z",
        "club_discount": True,
        "account_id": None,
        "models": {"zz-model": PRICE},
    },
    ("POST", "/fx-rates"): {"date": "2026-01-01", "pair": "USD/KRW", "rate": "1300"},
    ("POST", "/training-manifests"): {"model": "m", "datasets": ["d"]},
    ("POST", "/share-plans"): {
        "effective_month": "2031-01",
        "pool_rate": "0.2",
        "rule": "pro_rata",
        "minimum_payout": "0",
    },
    ("POST", "/accounts/{account}/payee"): {
        "kind": "business",
        "country": "KR",
        "legal_name": "n",
        "currency": "KRW",
        "registration_number": "1208147521",
        "destination": {"kind": "bank", "account": "1"},
    },
    ("POST", "/accounts/{account}/payout-holds"): {"reason": "r"},
    ("POST", "/tier-tables"): {
        "effective_at": "2030-01-01T00:00:00Z",
        "tiers": [{"name": "a", "tokens_min": 1, "discount": "0.1"}],
    },
    ("POST", "/payouts"): {"month": "2026-01"},
    ("POST", "/keys/{key}/rotate"): {"overlap_s": 1},
    ("POST", "/months/2020-01/close"): {"draft": True},
}
QUERIES = {
    "/accounts": ("after", "limit"),
    "/rate-cards": ("after", "limit"),
    "/usage": ("from", "to", "group_by", "account", "zone"),
    "/invoices": ("month", "account", "after", "limit"),
    "/shares": ("month", "account", "after", "limit"),
}
PATHS = (
    *(("GET", "/accounts/{}"), ("PATCH", "/accounts/{}"), ("GET", "/accounts/{}/keys"), ("POST", "/accounts/{}/keys")),
    *(("GET", "/accounts/{}/contributions"), ("DELETE", "/keys/{}"), ("POST", "/keys/{}/rotate")),
    *(("POST", "/months/{}/close"), ("GET", "/invoices/{}")),
)
EXAMPLES_MAX = 6
FORBIDDEN_BODIES_MAX = 2  # schemathesis needs up to a second to think one up; the odd values above are many


class Answers:
    """Counts what came back, and keeps what never may."""

    def __init__(self) -> None:
        self.statuses: Counter[int] = Counter()
        self.wrong: list[str] = []

    def take(self, answer: httpx.Response | schemathesis.Response, what: str) -> None:
        self.statuses[answer.status_code] += 1
        if answer.status_code >= 500:
            self.wrong.append(f"{answer.status_code} {what[:200]}")
        elif answer.status_code >= 400 and not answer.json()["error"]["message"]:
            self.wrong.append(f"no error body {what[:200]}")


@pytest.fixture
def answers() -> Iterator[Answers]:
    """Whatever a test asks, no answer is a 5xx, and each refusal says why."""
    seen = Answers()
    yield seen
    assert seen.wrong == []


@pytest.mark.parametrize(("method", "path"), BODIES)
def test_an_odd_value_at_any_place_of_a_body_is_taken_or_refused(
    fuzzed: Gateway, answers: Answers, method: str, path: str
) -> None:
    account = fuzzed.account()["id"]
    key = fuzzed.post(f"/accounts/{account}/keys", {"name": "k"})["id"]
    url, valid = path.format(account=account, key=key), BODIES[method, path]
    for body in (valid, *with_odd_values(valid)):
        answers.take(fuzzed.operator.request(method, url, json=body), repr(body))
    for raw in BROKEN_BODIES:
        headers = {"content-type": "application/json"}
        answers.take(fuzzed.operator.request(method, url, content=raw, headers=headers), repr(raw))
    assert answers.statuses[400] > len(BROKEN_BODIES)
    assert min(answers.statuses) in (200, 201)
    fuzzed.new_key()  # and what was taken has spoilt nothing
    assert fuzzed.operator.get("/rate-cards").status_code == 200


def test_an_odd_word_in_a_query_or_a_path_is_taken_or_refused(fuzzed: Gateway, answers: Answers) -> None:
    for path, names in QUERIES.items():
        for name in names:
            for word in ODD_WORDS:
                answers.take(fuzzed.operator.get(path, params={name: word}), f"{path} {name}={word!r}")
    for method, path in PATHS:
        for word in ODD_WORDS:
            url = path.format(quote(word, safe=""))
            answers.take(fuzzed.operator.request(method, url), f"{method} {url}")


def test_what_our_openapi_allows_and_what_it_forbids_is_never_a_server_error(fuzzed: Gateway, answers: Answers) -> None:
    account = fuzzed.account()["id"]
    known = {
        "account_id": account,
        "key_id": fuzzed.post(f"/accounts/{account}/keys", {"name": "k"})["id"],
        "month": "2020-01",
    }
    secrets = {True: fuzzed.operator_token, False: fuzzed.new_key()}
    session = requests.Session()
    session.trust_env = False
    schema = schemathesis.openapi.from_url(f"{fuzzed.url}/schema/openapi.json")
    schema.config.base_url = fuzzed.url
    operations = [found.ok() for found in schema.get_all_operations() if isinstance(found, Ok)]
    assert len(operations) > 25

    def walk(operation: APIOperation[Any, Any, Any, Any], mode: GenerationMode) -> None:
        forbids_body = mode is GenerationMode.NEGATIVE and bool(operation.body)
        bearer = {"authorization": f"Bearer {secrets['/operator' in operation.path]}"}

        @seed(20261124)
        @settings(
            max_examples=FORBIDDEN_BODIES_MAX if forbids_body else EXAMPLES_MAX,
            deadline=None,
            database=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(operation.as_strategy(generation_mode=mode))
        def call(case: schemathesis.Case[Any]) -> None:
            if mode is GenerationMode.POSITIVE:
                case.path_parameters.update({name: known[name] for name in case.path_parameters if name in known})
            answer = case.call(headers=bearer, session=session, timeout=20)
            answers.take(answer, f"{operation.label} {case.query} {case.path_parameters} {case.body!r}")

        call()

    for operation in operations:
        walk(operation, GenerationMode.POSITIVE)
        if operation.body or operation.query:
            walk(operation, GenerationMode.NEGATIVE)
    assert answers.statuses[200] > 20
    assert answers.statuses[400] > 20
