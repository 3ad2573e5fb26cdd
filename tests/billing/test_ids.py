"""Ids of calls: UUIDs of version 7 that keep their digits."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from billing.ids import instant_of, new_call_id


@given(st.integers(0, 2**47))
def test_a_call_id_is_the_uuid_that_its_digits_spell(now_ms: int) -> None:
    call_id = new_call_id(now_ms)
    plain = UUID(hex=call_id.hex)
    assert call_id == plain
    assert hash(call_id) == hash(plain)
    assert (str(call_id), call_id.bytes, call_id.is_safe) == (str(plain), plain.bytes, plain.is_safe)
    assert plain.version == 7


@given(st.integers(0, 2**42))
def test_a_call_id_tells_its_millisecond(now_ms: int) -> None:
    assert abs(
        instant_of(new_call_id(now_ms)) - datetime(1970, 1, 1, tzinfo=UTC) - timedelta(milliseconds=now_ms)
    ) < timedelta(milliseconds=1)


def test_two_call_ids_of_one_instant_differ() -> None:
    assert len({new_call_id(1_764_000_000_000) for _ in range(1_000)}) == 1_000
