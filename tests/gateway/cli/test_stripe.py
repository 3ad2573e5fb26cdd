"""Stripe at the command line of a gateway that has no key for it: it says so, and nothing else is in the way."""

from __future__ import annotations

from tests.gateway.cli.office import Office


def test_without_a_key_the_command_line_says_so_and_what_would_need_it_is_refused(office: Office) -> None:
    state = office.json("stripe", "status")
    assert (state["enabled"], state["given_up"], state["webhooks"]) == (False, [], False)
    assert "STRIPE_API_KEY is not set" in state["why"]
    assert office.json("stripe", "retry") == {"tasks": 0}
    account = office.json("accounts", "create", "Prepaid", "--billing", "prepaid")["id"]
    assert office.json("stripe", "top-ups", account)["data"] == []
    for words in (("top-up", account, "5.00"), ("reconcile", "2026-10")):
        code, line = office.refused("stripe", *words)
        assert (code, "STRIPE_API_KEY" in line) == (1, True)
    code, line = office.refused("stripe", "refund", "top_0", "1.00", "--reason", "asked")
    assert (code, "top_0" in line) == (1, True)
