"""What lies in Redis of an idempotent call can be read, and guessed at, only with the caller's secret."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.keys.secret import new_secret
from gateway.replay.seal import SEAL_BYTES, BrokenSeal, Seal

SECRET = "sk-solar-" + "a" * 43
SEAL = Seal(SECRET, "acc_1", "key_1", "order-7")
FORM = "multipart/form-data; boundary="


@given(st.binary(max_size=2000))
def test_a_sealed_answer_opens_to_the_same_bytes_and_never_looks_the_same_twice(answer: bytes) -> None:
    first, second = SEAL.close("call-1", answer), SEAL.close("call-1", answer)
    assert first != second
    assert len(first) == len(answer) + SEAL_BYTES
    assert SEAL.open("call-1", first) == SEAL.open("call-1", second) == answer


@pytest.mark.parametrize(
    "other",
    [
        Seal(new_secret(), "acc_1", "key_1", "order-7"),
        Seal(SECRET, "acc_2", "key_1", "order-7"),
        Seal(SECRET, "acc_1", "key_2", "order-7"),
        Seal(SECRET, "acc_1", "key_1", "order-8"),
    ],
    ids=["another secret", "another account", "another key", "another Idempotency-Key"],
)
def test_nobody_else_opens_it_and_nobody_else_has_its_name_or_digest(other: Seal) -> None:
    sealed = SEAL.close("call-1", b"answer")
    with pytest.raises(BrokenSeal):
        other.open("call-1", sealed)
    assert other.name != SEAL.name
    if other._mac_key != SEAL._mac_key:
        assert other.digest("chat", "application/json", b"{}") != SEAL.digest("chat", "application/json", b"{}")


@given(st.integers(min_value=0, max_value=SEAL_BYTES + 5), st.integers(min_value=1, max_value=255))
def test_a_changed_or_cut_answer_or_one_of_another_call_does_not_open(at: int, change: int) -> None:
    sealed = bytearray(SEAL.close("call-1", b"answer"))
    cut = bytes(sealed[:at])
    if at < len(sealed):
        sealed[at] ^= change
        with pytest.raises(BrokenSeal):
            SEAL.open("call-1", bytes(sealed))
        with pytest.raises(BrokenSeal):
            SEAL.open("call-1", cut)
    with pytest.raises(BrokenSeal):
        SEAL.open("call-2", SEAL.close("call-1", b"answer"))


def test_a_digest_tells_endpoints_and_bodies_apart_but_not_the_boundary_that_a_client_draws_anew() -> None:
    def form(boundary: str, text: bytes = b"pdf") -> str:
        line = boundary.encode()
        body = b"--%b\r\ncontent-disposition: form-data; name=x\r\n\r\n%b\r\n--%b--\r\n" % (line, text, line)
        return SEAL.digest("document-digitization", FORM + boundary, body)

    assert form("abc") == form("xyz")
    assert form("abc") != form("abc", b"png")
    chat = SEAL.digest("chat", "application/json", b'{"a":1}')
    assert chat == Seal(SECRET, "acc_1", "key_1", "order-8").digest("chat", "application/json", b'{"a":1}')
    assert chat != SEAL.digest("chat", "application/json", b'{"a":2}')
    assert chat != SEAL.digest("messages", "application/json", b'{"a":1}')
