"""One file of the journal: made, locked, written, read, removed. Blocking; the journal calls it from a thread of its own.

A file is made under a name that nobody looks for, locked, given its space on the disk, and only then renamed to `*.journal`: a scan never
takes a file from a living process, and a full disk is noticed before a record depends on it. The lock is the kernel's (flock): it ends
with its process, however that ends.
Units: bytes. Errors: `OSError`.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from gateway.spool.frames import HEAD_BYTES, Frames, read_frames

SUFFIX = ".journal"
_NEW = ".new"


class Segment:
    """A file that this process holds the lock of."""

    def __init__(self, path: Path, fd: int, *, size_bytes: int) -> None:
        self.path = path
        self.size_bytes = size_bytes
        self.used_bytes = 0
        self.records = 0
        self._fd = fd

    @classmethod
    def create(cls, folder: Path, name: str, size_bytes: int) -> Segment:
        """A new, empty file with its space set aside."""
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        made = folder / (name + _NEW)
        fd = os.open(made, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.posix_fallocate(fd, 0, size_bytes)
            os.fsync(fd)
            path = folder / (name + SUFFIX)
            made.rename(path)
            _sync_folder(folder)
        except BaseException:
            os.close(fd)
            made.unlink(missing_ok=True)
            raise
        return cls(path, fd, size_bytes=size_bytes)

    @classmethod
    def adopt(cls, path: Path) -> Segment | None:
        """A file whose process is gone; None where it lives, or somebody else was quicker."""
        try:
            fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(fd)
            return None
        state = os.fstat(fd)
        if state.st_nlink == 0:  # it was removed between our two steps
            os.close(fd)
            return None
        segment = cls(path, fd, size_bytes=state.st_size)
        held = segment.read().payloads
        segment.records, segment.used_bytes = len(held), sum(HEAD_BYTES + len(payload) for payload in held)
        return segment

    def fits(self, count_bytes: int) -> bool:
        return self.used_bytes + count_bytes <= self.size_bytes

    def append(self, frames: bytes, records: int) -> None:
        """Write whole frames behind the others; they are on the disk when this returns, and none of them counts where it raises."""
        at, view = self.used_bytes, memoryview(frames)
        try:
            while view:
                written = os.pwrite(self._fd, view, at)
                at, view = at + written, view[written:]
            os.fdatasync(self._fd)
        except OSError:
            self._blot_out(len(frames))
            raise
        self.used_bytes += len(frames)
        self.records += records

    def _blot_out(self, count_bytes: int) -> None:
        """Nobody will be told that these frames are safe, so that they must not come back either: as far as this disk still obeys."""
        try:
            os.pwrite(self._fd, bytes(min(count_bytes, self.size_bytes - self.used_bytes)), self.used_bytes)
            os.fdatasync(self._fd)
        except OSError:
            return

    def read(self) -> Frames:
        """Every whole record."""
        data = bytearray()
        while piece := os.pread(self._fd, 1 << 20, len(data)):
            data += piece
        return read_frames(bytes(data))

    def remove(self) -> None:
        """It is done with: every record is elsewhere."""
        self.path.unlink(missing_ok=True)
        os.close(self._fd)

    def close(self) -> None:
        """Let go of it; the next process finds it. An empty one is not left lying about."""
        if self.used_bytes == 0:
            self.path.unlink(missing_ok=True)
        os.close(self._fd)


def journal_files(folder: Path) -> list[Path]:
    """Every file of the journal in a folder, oldest first; whose they are shows when one tries to adopt them."""
    return sorted(folder.glob(f"*{SUFFIX}"))


def _sync_folder(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
