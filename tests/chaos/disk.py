"""The disk of the journals, small enough to be filled: a tmpfs of its own where mounts are allowed (root), else a limit of the kernel on
the size of the workers' files (RLIMIT_FSIZE, which refuses like a full disk does). Units: bytes.
"""

from __future__ import annotations

import resource
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from gateway.spool.frames import read_frames
from gateway.spool.segment import journal_files

_SIZE_BYTES = 6 * 1024 * 1024
_PIECE_BYTES = 64 * 1024
_MOUNT_S = 10


@dataclass
class SmallDisk:
    """Where the journals lie."""

    folder: Path
    is_mounted: bool

    @property
    def kind(self) -> str:
        return "a tmpfs" if self.is_mounted else "RLIMIT_FSIZE, because this machine lets us mount nothing"

    def fill(self, writers: Sequence[psutil.Process]) -> None:
        """Not a byte is left."""
        if not self.is_mounted:
            self._limit(writers, 0)
            return
        with suppress(OSError), self._filler.open("wb", buffering=0) as filler:
            while True:
                filler.write(bytes(_PIECE_BYTES))

    def empty(self, writers: Sequence[psutil.Process]) -> None:
        """There is room again."""
        if self.is_mounted:
            self._filler.unlink(missing_ok=True)
        else:
            self._limit(writers, resource.RLIM_INFINITY)

    @property
    def _filler(self) -> Path:
        return self.folder / "filler"

    def _limit(self, writers: Sequence[psutil.Process], size_bytes: int) -> None:
        for writer in writers:
            with suppress(psutil.NoSuchProcess):
                writer.rlimit(psutil.RLIMIT_FSIZE, (size_bytes, resource.RLIM_INFINITY))

    def records(self) -> int:
        """How many records lie in the journals."""
        count = 0
        for path in journal_files(self.folder):
            with suppress(FileNotFoundError):
                count += len(read_frames(path.read_bytes()).payloads)
        return count


@contextmanager
def small_disk(folder: Path) -> Iterator[SmallDisk]:
    """Mounted, or not, for the length of a block."""
    folder.mkdir(parents=True)
    is_mounted = _done("mount", "-t", "tmpfs", "-o", f"size={_SIZE_BYTES}", "solar-chaos", str(folder))
    try:
        yield SmallDisk(folder, is_mounted)
    finally:
        if is_mounted:
            _done("umount", "-l", str(folder))


def _done(*argv: str) -> bool:
    try:
        return subprocess.run(argv, capture_output=True, timeout=_MOUNT_S, check=False).returncode == 0
    except OSError:
        return False
