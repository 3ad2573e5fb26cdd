"""A record written from its form is the record that the drain reads, byte for byte."""

from __future__ import annotations

from decimal import Decimal

from hypothesis import given, settings
from hypothesis import strategies as st

from billing.ledger.record import RecordForm, UsageRecord, from_wire_record, to_wire_prices, to_wire_record
from billing.prices import ModelPrice, Price

texts = st.text(max_size=20)
maybe = st.none() | texts
counts = st.tuples(*[st.integers(0, 10**12)] * 5)
amounts = st.decimals(0, 1000, places=6)
prices = st.builds(ModelPrice, amounts, amounts, amounts, amounts, amounts)


@settings(max_examples=40, deadline=None)
@given(
    st.tuples(texts, texts, texts, texts, texts, texts, texts, texts),
    prices,
    st.none() | prices,
    counts,
    st.tuples(maybe, maybe, maybe),
    st.booleans(),
    st.integers(1, 9),
)
def test_a_form_writes_what_the_record_says(
    names: tuple[str, ...],
    sells: ModelPrice,
    buys: ModelPrice | None,
    usage: tuple[int, int, int, int, int],
    of_call: tuple[str | None, str | None, str | None],
    streamed: bool,
    attempts: int,
) -> None:
    account, key, zone, month, endpoint, asked, model, card = names
    answered, estimated, upstream_key = of_call
    price = Price(model, card, sells, Decimal("0.10"), "tier", buys)
    form = RecordForm.of(account, key, zone, month, endpoint, asked, price)
    text = form.text("0199", 123, usage, answered, estimated, upstream_key, streamed=streamed, attempts=attempts)
    record = UsageRecord(
        *("0199", account, key, 123, month, endpoint, asked, model, answered, card, to_wire_prices(price)),
        *("0.10", "tier", usage, estimated, streamed, attempts),
        buy_prices=price.buy_texts,
        zone=zone,
        upstream_key=upstream_key,
    )
    assert text == to_wire_record(record)
    assert from_wire_record(text.encode()) == record
