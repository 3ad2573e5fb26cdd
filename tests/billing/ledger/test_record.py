"""Usage records as they travel: written from a form they are what they would be when written whole."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from billing.ids import new_call_id
from billing.ledger.record import RecordForm, UsageRecord, from_wire_record, to_wire_counts, to_wire_record
from billing.usage import Usage

texts = st.text(max_size=12)
counts = st.builds(Usage, *[st.integers(0, 2**31 - 1)] * 5)
records = st.builds(
    UsageRecord,
    call_id=st.integers(0, 2**47).map(lambda now_ms: new_call_id(now_ms).hex),
    account_id=texts,
    key_id=texts,
    accepted_ns=st.integers(0, 2**63 - 1),
    billing_month=st.just("2026-11"),
    endpoint=texts,
    model_asked=texts,
    model=texts,
    model_answered=st.none() | texts,
    card_id=texts,
    prices=st.tuples(*[st.sampled_from(["0", "0.30", "1E-7"])] * 5),
    discount=st.just("0.1"),
    discount_reason=texts,
    usage=counts.map(to_wire_counts),
    estimated_reason=st.none() | texts,
    streamed=st.booleans(),
    attempts=st.integers(1, 9),
    buy_prices=st.none() | st.tuples(*[st.just("0.25")] * 5),
    zone=st.sampled_from(["Asia/Seoul", "UTC", "100%s"]),
)


@given(records, counts, st.none() | texts, st.none() | texts)
def test_a_record_written_from_a_form_is_the_record_written_whole(
    like: UsageRecord, usage: Usage, model_answered: str | None, reason: str | None
) -> None:
    record = replace(
        like,
        usage=to_wire_counts(usage),
        model_answered=model_answered,
        estimated_reason=reason,
        attempts=2,
        streamed=True,
    )
    form = RecordForm(replace(like, call_id="another", accepted_ns=1))
    written = form.written(
        record.call_id, record.accepted_ns, model_answered, usage, reason, streamed=True, attempts=record.attempts
    )
    assert written == to_wire_record(record)
    assert from_wire_record(written.encode()) == record
