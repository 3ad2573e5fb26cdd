"""Structured logs: one JSON object a line on stderr. Ids and counts only; never a prompt, a completion or a secret.

`CallLog` is for the one line that each call leaves: it is kept off the call's path, and written with others in one go.
Units: seconds. A line may be lost with a process that is killed; the ledger never depends on it.
"""

from __future__ import annotations

import asyncio
import logging
import sys

import msgspec
import structlog

_lines = msgspec.json.Encoder().encode_lines


class CallLog:
    """Lines of finished calls, written together a few times a second; beyond `waiting_max` they are counted, not kept."""

    def __init__(self, *, flush_s: float = 0.2, waiting_max: int = 50_000) -> None:
        self._flush_s = flush_s
        self._waiting_max = waiting_max
        self._waiting: list[dict[str, object]] = []
        self._dropped_count = 0
        self._timer: asyncio.TimerHandle | None = None

    def add(self, facts: dict[str, object]) -> None:
        """Keep what is known of a call for the next writing."""
        if len(self._waiting) >= self._waiting_max:
            self._dropped_count += 1
            return
        self._waiting.append(facts)
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self._flush_s, self.flush)

    def flush(self) -> None:
        """Write what is kept."""
        self._timer = None
        waiting, self._waiting = self._waiting, []
        if self._dropped_count:
            waiting.append({"event": "call_lines_dropped", "count": self._dropped_count, "level": "warning"})
            self._dropped_count = 0
        sys.stderr.buffer.write(_lines(waiting))
        sys.stderr.flush()


def set_up_logs(process: str) -> None:
    """Log as a process of this name. Libraries' own logs come out from warnings up, in the same shape."""
    shared: list[structlog.typing.Processor] = [
        structlog.processors.format_exc_info,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    structlog.configure(
        processors=[structlog.contextvars.merge_contextvars, *shared, structlog.processors.JSONRenderer()],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    structlog.contextvars.bind_contextvars(process=process)
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=shared,
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, structlog.processors.JSONRenderer()],
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter)
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
