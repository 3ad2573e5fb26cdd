"""What this worker told Redis of late, for as long as it may be forgotten there.

A settlement is remembered until the drain has it in the ledger (its place in the stream tells), a hold given back until the next
heartbeat after a while. Should Redis's history move back, both are told again. Bounded: where the ledger is far behind, the oldest are
forgotten first, which a replica has had the most time to learn. Of one shard. A settlement that Redis did not take goes through the
local journal instead (`Kept`): the operation is the tick script's own, and a record of another format is not ours to replay. Pure.
Units: seconds on a clock that is handed in, nano-USD. Errors: `ValueError` for bytes that are no kept settlement.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from gateway.call import Call

Operation = tuple[Any, ...]


class Told(msgspec.Struct, frozen=True, gc=False):
    """A settlement, what was decided, and its id in the stream."""

    call: Call
    operation: Operation
    """As the script was asked to settle (`holds.lua`, S)."""
    reply: Sequence[Any]
    stream_id: str


class Recall:
    """What is not known to be safe yet."""

    def __init__(self, *, records_max: int, freed_s: float) -> None:
        self._settled: deque[Told] = deque(maxlen=records_max)
        self._freed: deque[tuple[float, Operation]] = deque(maxlen=records_max)
        self._freed_s = freed_s

    def settled(self, call: Call, operation: Operation, reply: Sequence[Any]) -> None:
        """Redis has taken a settlement."""
        self._settled.append(Told(call, operation, reply, reply[4]))

    def freed(self, operation: Operation, now_s: float) -> None:
        self._freed.append((now_s, operation))

    def confirm(self, drained_to: str, *, included: bool, now_s: float) -> None:
        """The ledger has every record up to an id of the stream."""
        upto = _place_of(drained_to)
        while self._settled:
            place = _place_of(self._settled[0].stream_id)
            if place > upto or (place == upto and not included):
                break
            self._settled.popleft()
        while self._freed and self._freed[0][0] < now_s - self._freed_s:
            self._freed.popleft()

    def take(self) -> tuple[list[Told], list[Operation]]:
        """Everything, to be told again."""
        settled, freed = list(self._settled), [operation for _, operation in self._freed]
        self._settled.clear()
        self._freed.clear()
        return settled, freed

    def put_back(self, settled: Iterable[Told]) -> None:
        """Told again, in their new places."""
        self._settled = deque(
            sorted([*self._settled, *settled], key=lambda told: _place_of(told.stream_id)), self._settled.maxlen
        )

    def __len__(self) -> int:
        return len(self._settled)


def _place_of(stream_id: str) -> tuple[int, int]:
    ms, _, number = stream_id.partition("-")
    return int(ms), int(number)


def restoring(told: Told) -> Operation:
    """The operation that tells a settlement again, as it was decided (`history.lua`, R)."""
    _, call_id, account_id, rates, tokens, money, _, counts, _, record, memory_ms, _ = told.operation
    return ("R", call_id, account_id, rates, tokens, money, sum(counts[:3]), record, memory_ms, list(told.reply))


def freeing(told: Told) -> Operation:
    """The operation that takes away what may be left of its hold (`holds.lua`, F)."""
    _, call_id, account_id, rates, tokens, money, _, _, _, _, memory_ms, _ = told.operation
    return ("F", call_id, account_id, rates, tokens, money, memory_ms)


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
    return Kept(FORMAT, call.entry_id.hex, caller.account_id, caller.key_id, month, scopes, nano_usd, operation)
