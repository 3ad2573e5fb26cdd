"""Which Idempotency-Keys the workers of this machine have, on its disk: asked while Redis is away, so that a repeat is not served twice.

Every claim is noted here beside Redis. While Redis is away a key that is noted is another call's, whatever has become of it; one that is
not is taken here alone (`is_shared` = no), by one of the workers, until Redis has heard of it. Such a key is another call's even where a
Redis that is back says that it is free. What lies here is a name and a digest that only the caller's own secret makes (`seal.py`).
SQLite's write-ahead log survives the death of any process; it is not synced, since a machine that dies takes its workers with it.
A statement blocks the loop for about 50 µs, at most for `_BUSY_S`. Bounds: how long and how many keys are noted, the oldest go first.
Units: seconds on the system's clock. Errors: `NotesAway` where the disk or the file does not answer.
"""

from __future__ import annotations

import os
import sqlite3
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog

_BUSY_S = 0.05
_READ_ON_S = 0.5
_TIDY_EVERY = 256
_TIDY_MAX = 1024
_ENDED_S = 900.0
"""A call that was noted longer ago has ended, in whatever way."""
_SCHEMA = """
CREATE TABLE IF NOT EXISTS note (
    name TEXT NOT NULL UNIQUE, attempt TEXT NOT NULL, digest TEXT NOT NULL, call TEXT NOT NULL, is_shared INT NOT NULL, at_s REAL NOT NULL
);
CREATE TABLE IF NOT EXISTS reader (worker TEXT PRIMARY KEY, seen_s REAL NOT NULL);
"""
log = structlog.get_logger("replay")


class NotesAway(Exception):
    """What is noted cannot be told just now."""


@dataclass(frozen=True, slots=True)
class Noted:
    """Whose a key is: the call, and the digest of its request."""

    call_id: str
    digest: str
    at_s: float

    @property
    def has_ended(self) -> bool:
        return time.time() - self.at_s > _ENDED_S


class Notes:
    """One worker's way to the notes of its machine. Of one event loop; the file is shared by all workers."""

    def __init__(self, folder: Path, *, worker: str, keep_s: float, rows_max: int) -> None:
        self._path = folder / "keys.sqlite"
        self._worker = worker
        self._keep_s = keep_s
        self._rows_max = rows_max
        self._file: sqlite3.Connection | None = None
        self._seen_s = 0.0
        self._until_tidy = 0

    def take(self, name: str, attempt: str, digest: str, call: str) -> Noted | None:
        """Redis is away: take the key here alone; returns whose it is where it is not free."""
        row = (name, attempt, digest, call, time.time())
        if self._do("INSERT OR IGNORE INTO note VALUES (?, ?, ?, ?, 0, ?)", *row).rowcount:
            return None
        return self._noted(name)

    def share(self, name: str, attempt: str, digest: str, call: str, *, known: bool) -> Noted | None:
        """Redis has given the key to this attempt; returns whose it is where another took it here and Redis has not heard of that.
        `known`: Redis has heard of the call before, this is another attempt of it."""
        row = (name, attempt, digest, call, time.time(), known)
        written = self._do(
            """INSERT INTO note VALUES (?1, ?2, ?3, ?4, 1, ?5) ON CONFLICT (name) DO UPDATE
               SET attempt = ?2, digest = ?3, call = ?4, is_shared = 1, at_s = ?5 WHERE is_shared OR attempt = ?2 OR ?6""",
            *row,
        )
        self._tidy_sometimes()
        return None if written.rowcount else self._noted(name)

    def told(self, name: str, attempt: str) -> None:
        """Redis has heard of a key that was taken here."""
        self._do("UPDATE note SET is_shared = 1 WHERE name = ? AND attempt = ?", name, attempt)

    def drop(self, name: str, attempt: str) -> None:
        """The key is free again: upstream did not begin to answer."""
        self._do("DELETE FROM note WHERE name = ? AND attempt = ?", name, attempt)

    # ---- who reads them -----------------------------------------------------------------------------------------------------

    def read_on(self) -> None:
        """This worker lives, and Redis has just heard so too; written down at most so often as it needs to be."""
        now_s = time.time()
        if now_s - self._seen_s < _READ_ON_S:
            return
        self._seen_s = now_s
        self._do("INSERT OR REPLACE INTO reader VALUES (?, ?)", self._worker, self._seen_s)
        self._do("DELETE FROM reader WHERE seen_s < ?", self._seen_s - self._keep_s)

    def readers(self, within_s: float) -> int:
        """How many workers of this machine lived when this one was last heard by Redis."""
        row: tuple[int] = self._do("SELECT count(*) FROM reader WHERE seen_s > ?", self._seen_s - within_s).fetchone()
        return row[0]

    # ---- the file -----------------------------------------------------------------------------------------------------------

    def _noted(self, name: str) -> Noted:
        row = self._do("SELECT call, digest, at_s FROM note WHERE name = ?", name).fetchone()
        if row is None:  # it was dropped between our two steps
            raise NotesAway
        return Noted(*row)

    def _tidy_sometimes(self) -> None:
        """Forget what is too old or too much, a bounded number of rows at a time: each is written before it can be forgotten."""
        self._until_tidy -= 1
        if self._until_tidy > 0:
            return
        self._until_tidy = _TIDY_EVERY
        self._do(
            """DELETE FROM note WHERE rowid IN (SELECT rowid FROM note WHERE at_s < ?1
               OR rowid <= (SELECT max(rowid) FROM note) - ?2 ORDER BY rowid LIMIT ?3)""",
            time.time() - self._keep_s,
            self._rows_max,
            _TIDY_MAX,
        )

    def _do(self, statement: str, *values: Any) -> sqlite3.Cursor:
        try:
            if self._file is None:
                self._file = _open(self._path)
            return self._file.execute(statement, values)
        except (sqlite3.Error, OSError) as error:
            log.warning("notes_away", kind=type(error).__name__, why=str(error))
            raise NotesAway from None

    def close(self) -> None:
        """Let go of the file."""
        if self._file is not None:
            self._file.close()
            self._file = None


def _open(path: Path) -> sqlite3.Connection:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    os.close(os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600))
    file = sqlite3.connect(path, timeout=_BUSY_S, isolation_level=None, check_same_thread=False)
    file.execute("PRAGMA journal_mode = wal")
    file.execute("PRAGMA synchronous = off")
    file.executescript(_SCHEMA)
    return file
