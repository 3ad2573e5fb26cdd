"""A record on the usage stream, as the drain reads it. Pure.

Units: nano-USD. Errors: `UNREADABLE`, whatever its parts raise, for fields that are no record.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import msgspec

from billing.ledger.entry import Settled
from billing.ledger.record import from_wire_record
from billing.periods import Month
from billing.usage import GRANT_ORDER
from gateway.admission.records import with_counts

Fields = Mapping[bytes, bytes]
UNREADABLE = (msgspec.MsgspecError, LookupError, ValueError, ArithmeticError)
_unpack = msgspec.msgpack.decode


@dataclass(frozen=True, slots=True)
class Moved:
    """The counters that a record moved when it was appended."""

    account_id: str
    nano_usd: int
    scopes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Message:
    """One record, its id in the stream, and the counters that it moved."""

    id: bytes
    moved: Moved
    settled: Settled

    def done(self) -> tuple[str, str, int, tuple[str, ...], str]:
        """As the script is told that it is done with (`books.lua`, D)."""
        moved = self.moved
        return self.id.decode(), moved.account_id, moved.nano_usd, moved.scopes, self.settled.record.call_id


def from_wire_message(message_id: bytes, fields: Fields) -> Message:
    record = with_counts(from_wire_record(fields[b"r"]), _counts_in(fields, b"u"), _counts_in(fields, b"b"))
    taken: list[tuple[str, int, int]] = _unpack(fields[b"g"], type=list[tuple[str, int, int]])
    grants = tuple((grant, GRANT_ORDER[kind - 1], tokens) for grant, kind, tokens in taken)
    return Message(message_id, from_wire_moved(fields), _checked(Settled(record, grants)))


def from_wire_moved(fields: Fields) -> Moved:
    return Moved(fields[b"a"].decode(), int(fields[b"n"]), _unpack(fields[b"m"], type=tuple[str, ...]))


def _counts_in(fields: Fields, name: bytes) -> list[int]:
    return _unpack(fields[name], type=list[int]) if name in fields else []


def _checked(settled: Settled) -> Settled:
    """A settlement that goes by its one name. What else cannot be read of it, the writer finds as it prices it."""
    if settled.record.uuid.hex != settled.record.call_id:
        raise ValueError("the call's id is not in its one form")
    Month.parse(settled.record.billing_month)
    return settled
