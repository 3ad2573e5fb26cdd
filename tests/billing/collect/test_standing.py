"""The rule of an account's standing, and that the order of what Stripe says makes no difference."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.collect.events import CheckoutFact, DisputeFact, InvoiceFact, PaymentFact, from_wire_event
from billing.collect.standing import Debt, Paid, Verdict, change_of, merged, merged_dispute, verdict_of

NOW = datetime(2026, 11, 20, tzinfo=UTC)
GRACE = timedelta(days=14)
_SAID = st.builds(
    Paid,
    st.sampled_from(["open", "uncollectible", "paid", "void"]),
    st.one_of(st.none(), st.integers(0, 5).map(lambda day: NOW - timedelta(days=day))),
    st.sampled_from(["overdue", "payment failed"]),
).map(lambda said: said if said.unpaid_since else Paid(said.status))


def folded(said: list[Paid]) -> Paid | None:
    known = None
    for one in said:
        known = merged(known, one)
    return known


@given(st.lists(_SAID, min_size=1, max_size=6), st.randoms(use_true_random=False))
def test_what_is_known_of_an_invoice_does_not_depend_on_order_or_repetition(said: list[Paid], dice: object) -> None:
    shuffled = said + said[: len(said) // 2]
    dice.shuffle(shuffled)  # type: ignore[attr-defined]
    assert folded(shuffled) == folded(said)


def test_paid_stays_paid_and_the_first_failure_counts() -> None:
    early, late = NOW - timedelta(days=3), NOW
    said = [Paid("open", late, "overdue"), Paid("open", early, "payment failed"), Paid("paid")]
    for order in itertools.permutations(said):
        assert folded(list(order)) == Paid("paid", early, "payment failed")
    assert {merged_dispute("open", "lost"), merged_dispute("lost", "open")} == {"lost"}
    assert merged_dispute(None, "open") == "open"


@pytest.mark.parametrize(("days", "suspended"), [(None, False), (0, False), (13, False), (14, True), (400, True)])
def test_the_oldest_debt_decides_and_its_grace_is_to_the_second(days: int | None, suspended: bool) -> None:
    debts = [] if days is None else [Debt(NOW, "overdue"), Debt(NOW - timedelta(days=days), "payment failed")]
    assert verdict_of(debts, NOW, GRACE).is_suspended is suspended
    if days == 14:
        assert not verdict_of(debts, NOW - timedelta(seconds=1), GRACE).is_suspended


OWES = Verdict(NOW - GRACE, "overdue", is_suspended=True)
PAID = Verdict(None, None, is_suspended=False)


def test_what_the_rule_suspended_it_restores_and_what_an_operator_decided_stays() -> None:
    assert change_of("active", None, False, OWES, NOW) == ("suspended", NOW, True)
    assert change_of("suspended", NOW, True, PAID, NOW) == ("active", None, False)
    # an operator had suspended it before: the debt is noted, and paying it changes nothing
    assert change_of("suspended", None, False, OWES, NOW) == (None, NOW, False)
    assert change_of("suspended", NOW, False, PAID, NOW) == (None, None, False)
    # an operator let it go on in spite of its debt: it is not suspended for that again
    assert change_of("active", NOW, True, OWES, NOW) == (None, NOW, True)
    # closed is closed
    assert change_of("closed", None, False, OWES, NOW) == (None, NOW, False)
    assert change_of("closed", NOW, True, PAID, NOW) == (None, None, False)


def event(kind: str, **thing: object) -> dict[str, object]:
    return {"type": kind, "created": 1_000, "data": {"object": thing}}


def test_events_are_read_for_what_concerns_us_and_nothing_else() -> None:
    at = datetime.fromtimestamp(1_000, UTC)
    ours = {"metadata": {"solar_invoice": "inv_1"}}
    assert from_wire_event(event("invoice.paid", status="paid", **ours)) == InvoiceFact("inv_1", "paid")
    failed = from_wire_event(event("invoice.payment_failed", status="open", **ours))
    assert failed == InvoiceFact("inv_1", "open", at, "payment failed")
    assert from_wire_event(event("invoice.created", status="draft", **ours)) is None
    assert from_wire_event(event("invoice.paid", status="paid", metadata={})) is None
    assert from_wire_event(event("price.created", id="price_1")) is None
    payment = {"payment": {"type": "payment_intent", "payment_intent": {"id": "pi_1"}}, "invoice": "in_1"}
    assert from_wire_event(event("invoice_payment.paid", **payment)) == PaymentFact("in_1", "pi_1")
    dispute = from_wire_event(
        event("charge.dispute.closed", id="dp_1", payment_intent="pi_1", status="lost", created=5)
    )
    assert dispute == DisputeFact("dp_1", "pi_1", "lost", datetime.fromtimestamp(5, UTC))
    checkout = {"metadata": {"solar_top_up": "top_1"}, "amount_total": 500, "currency": "usd", "payment_intent": "pi_2"}
    gone_through = event("checkout.session.completed", payment_status="paid", **checkout)
    assert from_wire_event(gone_through) == CheckoutFact("top_1", "paid", "pi_2", 500, "USD")
    assert from_wire_event(event("checkout.session.completed", payment_status="unpaid", **checkout)) is None
    with pytest.raises(ValueError, match="cannot be read"):
        from_wire_event(event("invoice.paid", metadata={"solar_invoice": "inv_1"}))
