"""Odd values, and every place of a JSON value where one can be put."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

ODD: tuple[Any, ...] = (
    # nothing, and kinds that are not meant
    *(None, True, False, "", [], {}, [None], {"": ""}, 0, -1, 1.5, 1e308),
    # beyond what columns, doubles and parsers hold
    *(2**31, 2**63, 2**64, 10**40, "9" * 60, "1e999999", "1e400000000", "0.0000000000001", "NaN", "Infinity", "-0"),
    # text that a database refuses, and long text
    *("\x00", "a\x00b", ["\x00"], {"\x00": ["\x00"]}, "x" * 20_000, "\U0001f600"),
    # the ends of the calendar
    *("0001-01-01T00:00:00Z", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59Z", "9999-12-31T23:59:59-14:00"),
    *("0001-01-01", "9999-12-31", "2026-13-01", "0000-01", "9999-12", "２０２６-10"),
    # zones that are folders or files, and ids of nobody
    *("Asia", "/etc/passwd", "../UTC", "Asia/Seoul\x00", "acc_nobody", "KRW"),
)
ODD_WORDS: tuple[str, ...] = (
    "",
    "\x00",
    "a\x00",
    "0",
    "-1",
    "9" * 30,
    "1.5",
    "9999-12",
    "0000-01",
    "0001-01-01",
    "9999-12-31",
    "Asia",
)
ODD_WORDS += ("/etc", "%00", "x" * 5_000, "2026-01", "2026-01/acc", "2026-01:acc_nobody", "\U0001f600")
BROKEN_BODIES: tuple[bytes, ...] = (b"", b"null", b"{", b"[]", b"\xff", b'{"name":"\xff"}', b'{"name":"\\ud800"}')
BROKEN_BODIES += (b'{"name":' + b"[" * 50_000, b'{"a":1,"a":2}')


def with_odd_values(body: Any) -> Iterator[Any]:
    """The body with an odd value at each of its places, one at a time; the whole body among them."""
    for place in _places(body):
        for value in ODD:
            yield _put(body, place, value)


def _places(value: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield at
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, child in inner:
        yield from _places(child, (*at, key))


def _put(body: Any, at: tuple[Any, ...], value: Any) -> Any:
    if not at:
        return value
    changed = copy.deepcopy(body)
    inner = changed
    for key in at[:-1]:
        inner = inner[key]
    inner[at[-1]] = value
    return changed
