"""Frames of a file: what was written whole comes back, what was not is recognised, whatever the bytes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.spool.frames import HEAD_BYTES, PAYLOAD_MAX_BYTES, framed, read_frames

PAYLOADS = st.lists(st.binary(min_size=1, max_size=60), max_size=8)


@given(PAYLOADS, st.integers(min_value=0, max_value=40))
def test_what_is_framed_comes_back_in_order_and_unused_space_is_no_damage(payloads: list[bytes], unused: int) -> None:
    frames = read_frames(b"".join(map(framed, payloads)) + bytes(unused))
    assert (list(frames.payloads), frames.torn) == (payloads, False)


@given(PAYLOADS.filter(bool), st.data())
def test_a_file_cut_anywhere_gives_every_whole_frame_and_no_other(payloads: list[bytes], data: st.DataObject) -> None:
    whole = b"".join(map(framed, payloads))
    cut = data.draw(st.integers(min_value=0, max_value=len(whole)))
    ends = [sum(HEAD_BYTES + len(p) for p in payloads[:count]) for count in range(len(payloads) + 1)]
    found = whole[:cut] + bytes(
        30
    )  # a segment is zeros behind what was written; a tail of zeros that is missing is there all the same
    expected = payloads[: max(at for at, end in enumerate(ends) if found[:end] == whole[:end])]
    assert list(read_frames(found).payloads) == expected


@given(PAYLOADS.filter(bool), st.data())
def test_a_flipped_bit_never_passes_for_a_record(payloads: list[bytes], data: st.DataObject) -> None:
    whole = bytearray(b"".join(map(framed, payloads)))
    at = data.draw(st.integers(min_value=0, max_value=len(whole) - 1))
    whole[at] ^= 1 << data.draw(st.integers(min_value=0, max_value=7))
    frames = read_frames(bytes(whole))
    assert list(frames.payloads) == payloads[: len(frames.payloads)]
    assert len(frames.payloads) < len(payloads)
    assert frames.torn


@pytest.mark.parametrize("size", [0, PAYLOAD_MAX_BYTES + 1])
def test_nothing_that_could_not_be_read_back_is_framed(size: int) -> None:
    with pytest.raises(ValueError, match="a frame holds"):
        framed(bytes(size))
