"""An answer as it left the house, so that it can leave again byte for byte. Pure, but for its count of bytes held.

Units: bytes. Bounds: one answer, and all answers that this process is recording. What goes over a bound is not kept; the call goes on.
Errors: `msgspec.MsgspecError` for bytes that are no kept answer.
"""

from __future__ import annotations

import msgspec

from gateway.errors import GatewayError


class KeptAnswer(msgspec.Struct, array_like=True):
    """A status, headers and a body; or a failure after upstream had begun, from which its door makes the same bytes again."""

    status: int
    headers: dict[str, str]
    body: bytes = b""
    failure: tuple[str, str, str, str | None] | None = None
    """(code, type, message, param)"""


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(KeptAnswer).decode


def to_wire_answer(answer: KeptAnswer) -> bytes:
    return _encode(answer)


def from_wire_answer(data: bytes) -> KeptAnswer:
    return _decode(data)


def kept_failure(error: GatewayError, headers: dict[str, str]) -> KeptAnswer:
    """What to keep of a failure that the client was told."""
    return KeptAnswer(error.status, headers, failure=(error.code, error.type, error.message, error.param))


def failure_of(answer: KeptAnswer) -> GatewayError | None:
    """The failure again, if the answer was one; it makes the same body."""
    if answer.failure is None:
        return None
    code, kind, message, param = answer.failure
    error = GatewayError(message, param=param)
    error.status, error.code, error.type = answer.status, code, kind
    return error


class Budget:
    """How many bytes of answers this process records at once."""

    def __init__(self, total_max_bytes: int) -> None:
        self._left_bytes = total_max_bytes

    def take(self, size_bytes: int) -> bool:
        if size_bytes > self._left_bytes:
            return False
        self._left_bytes -= size_bytes
        return True

    def give(self, size_bytes: int) -> None:
        self._left_bytes += size_bytes


class Recording:
    """The bytes of one answer, up to the bound; over it, nothing."""

    def __init__(self, budget: Budget, answer_max_bytes: int) -> None:
        self._budget = budget
        self._left_bytes = answer_max_bytes
        self._held_bytes = 0
        self._pieces: list[bytes] = []
        self._head: tuple[int, dict[str, str]] | None = None
        self._too_large = False

    def start(self, status: int, headers: dict[str, str]) -> None:
        self._head = (status, headers)

    def add(self, piece: bytes) -> None:
        if self._too_large or not piece:
            return
        self._left_bytes -= len(piece)
        if self._left_bytes < 0 or not self._budget.take(len(piece)):
            self._too_large = True
            self.forget()
            return
        self._held_bytes += len(piece)
        self._pieces.append(piece)

    def answer(self) -> KeptAnswer | None:
        """What was recorded; None where it was too large, or never begun."""
        if self._head is None or self._too_large:
            return None
        return KeptAnswer(*self._head, b"".join(self._pieces))

    def forget(self) -> None:
        """Give the memory back. Safe to repeat."""
        self._pieces.clear()
        self._budget.give(self._held_bytes)
        self._held_bytes = 0
