"""A settlement on its way through the local journal: what Redis has to be told, and what it stands for until then. Pure.

The operation is the tick script's own, as this release makes it. A record of another format is not ours to replay.
Units: nano-USD. Errors: `ValueError` for bytes that are no such record.
"""

from __future__ import annotations

from typing import Any

import msgspec

from gateway.call import Call

FORMAT = 1


class Kept(msgspec.Struct, array_like=True, frozen=True):
    """One settlement. The order of the fields is the file format: append only."""

    format: int
    call_id: str
    account_id: str
    key_id: str
    month: str
    scopes: tuple[str, ...]
    nano_usd: int
    """What it costs at most: more than Redis will charge where grants pay, or a cap is reached."""
    operation: tuple[Any, ...]

    @property
    def share_scopes(self) -> list[tuple[str, str]]:
        return [(self.account_id, scope) for scope in self.scopes]


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Kept).decode


def to_wire_kept(kept: Kept) -> bytes:
    return _encode(kept)


def from_wire_kept(data: bytes) -> Kept:
    try:
        kept = _decode(data)
    except msgspec.MsgspecError as error:
        raise ValueError(f"no kept settlement: {error}") from None
    if kept.format != FORMAT:
        raise ValueError(f"a kept settlement of format {kept.format}, which this release does not know")
    return kept


def kept_settlement(call: Call, nano_usd: int, operation: tuple[Any, ...]) -> Kept:
    """A settlement as the journal keeps it."""
    caller, month = call.caller, str(call.month)
    scopes = tuple(scope for scope, _ in caller.money_scopes(month))
    return Kept(FORMAT, call.id.hex, caller.account_id, caller.key_id, month, scopes, nano_usd, operation)
