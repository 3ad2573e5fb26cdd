"""Records in a file: length, checksum, bytes. Pure.

A frame is `<length><crc32>` (two little-endian 32-bit words) and the payload; the checksum covers the length too. A file ends where a
length of 0 stands (space that was set aside and not yet used), where it ends, or where the first frame is not whole: a process or a
machine died in mid-write, and whoever waited for that frame was never told that it is safe.
Units: bytes.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass

_HEAD = struct.Struct("<II")
HEAD_BYTES = _HEAD.size
PAYLOAD_MAX_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Frames:
    """What a file holds: the whole frames, and whether something torn follows them."""

    payloads: tuple[bytes, ...]
    torn: bool


def framed(payload: bytes) -> bytes:
    """A payload as it stands in the file; ValueError where it is empty or too long to be one."""
    if not 0 < len(payload) <= PAYLOAD_MAX_BYTES:
        raise ValueError(f"a frame holds 1 to {PAYLOAD_MAX_BYTES} bytes, not {len(payload)}")
    return _HEAD.pack(len(payload), _checksum(payload)) + payload


def read_frames(data: bytes) -> Frames:
    """The frames of a file from its beginning, up to the first that is not whole."""
    payloads: list[bytes] = []
    at = 0
    while len(data) - at >= HEAD_BYTES:
        length, checksum = _HEAD.unpack_from(data, at)
        payload = data[at + HEAD_BYTES : at + HEAD_BYTES + length]
        if not 0 < length <= PAYLOAD_MAX_BYTES or len(payload) < length or _checksum(payload) != checksum:
            break
        payloads.append(payload)
        at += HEAD_BYTES + length
    return Frames(tuple(payloads), torn=any(data[at:]))


def _checksum(payload: bytes) -> int:
    return zlib.crc32(payload, zlib.crc32(len(payload).to_bytes(4, "little")))
