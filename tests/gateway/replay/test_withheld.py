"""An answer that could not be booked in time: withheld, and given to whoever asks again with the same key, once it is booked."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from gateway.errors import GatewayError, NotBooked
from gateway.repeat import KeepingDoor
from gateway.replay.answer import Budget, KeptAnswer, Recording, from_wire_answer
from gateway.replay.shelf import Claim, Found
from tests.gateway.replay.works import SEAL, Works, claimed

HEADERS = {"content-type": "application/json"}


class Street:
    """Where answers go: a door that writes down what leaves by it."""

    def __init__(self) -> None:
        self.left: list[Any] = []

    def __getattr__(self, name: str) -> None:
        """What it knows of the request: nothing."""

    async def start(self, status: int, headers: dict[str, str]) -> None:
        self.left.append((status, headers))

    async def write(self, data: bytes) -> None:
        self.left.append(data)

    async def end(self, last: bytes = b"") -> None:
        self.left.append(last)

    async def refuse(self, error: GatewayError, headers: dict[str, str]) -> None:
        self.left.append((error.status, headers))


def a_door(works: Works, claim: Claim) -> tuple[Street, KeepingDoor]:
    street: Any = Street()
    return street, KeepingDoor(street, works.shelf(), claim, Recording(Budget(1000), 1000))


async def kept_of(works: Works) -> KeptAnswer:
    found = await works.shelf().claim(SEAL, 0, "call-2", "d")
    assert isinstance(found, Found)
    assert found.what == "answer", found
    return from_wire_answer(SEAL.open("call-1", found.sealed))


async def until_kept(works: Works) -> KeptAnswer:
    async with asyncio.timeout(10):
        while await works.shelf().claim(SEAL, 0, "call-2", "d") == Found("running", "call-1"):  # noqa: ASYNC110 - Redis tells nobody
            await asyncio.sleep(0.02)
    return await kept_of(works)


async def test_a_whole_answer_that_is_booked_late_is_given_to_whoever_asks_again_and_not_before(works: Works) -> None:
    street, door = a_door(works, await claimed(works.shelf()))
    await door.upstream_began()
    late = NotBooked(asyncio.Event())
    door.withhold(late, b"the answer", HEADERS)
    await door.refuse(late, late.headers)
    await door.close()
    assert street.left == [(503, {"retry-after": "1"})], "whoever asked is told to ask again"
    await asyncio.sleep(0.1)
    assert await works.shelf().claim(SEAL, 0, "call-2", "d") == Found("running", "call-1")
    late.booked.set()
    assert await until_kept(works) == KeptAnswer(200, {**HEADERS, "content-length": "10"}, b"the answer")


async def test_of_a_stream_the_rest_is_withheld_and_the_whole_is_kept(works: Works) -> None:
    street, door = a_door(works, await claimed(works.shelf()))
    await door.upstream_began()
    late = NotBooked(asyncio.Event())
    await door.start(200, HEADERS)
    await door.write(b"data: 1\n\n")
    door.withhold(late, b"data: [DONE]\n\n")
    await door.end(b"data: error\n\n")
    await door.close()
    assert street.left == [(200, HEADERS), b"data: 1\n\n", b"data: error\n\n"]
    late.booked.set()
    assert await until_kept(works) == KeptAnswer(200, HEADERS, b"data: 1\n\ndata: [DONE]\n\n")


async def test_an_answer_that_is_never_booked_is_gone_in_the_end(works: Works, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.repeat._LATE_S", 0.05)
    _, door = a_door(works, await claimed(works.shelf()))
    await door.upstream_began()
    door.withhold(NotBooked(asyncio.Event()), b"the answer", HEADERS)
    async with asyncio.timeout(10):
        while await works.shelf().claim(SEAL, 0, "call-2", "d") != Found("gone", "call-1"):  # noqa: ASYNC110 - Redis tells nobody
            await asyncio.sleep(0.02)
