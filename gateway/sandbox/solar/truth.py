"""What the simulator really did, call by call: the other side of every reconciliation. In memory, bounded; unit: tokens, pages.

A record is written when its call ends; `seq` counts ends, so paging by it never misses one. Calls without a valid key leave
no record. `outcome`: served · refused (an error answer; all counts 0) · cut (we broke it, or ended it with an error event) ·
client_gone (the client hung up; a whole answer it did not wait for counts no output). `completion_tokens` is what was
generated up to that point, and `usage_sent` whether the usage was written to the socket. Raises nothing.
"""

from collections import Counter, deque
from dataclasses import asdict, dataclass
from itertools import islice
from typing import Any

RECORDS_MAX = 1_000_000
PAGE_MAX = 10_000
_LABELS_MAX = 100_000
_SUMS = ("prompt_tokens", "cached_tokens", "completion_tokens", "reasoning_tokens", "total_tokens", "pages")


@dataclass(slots=True)
class Record:
    """One call."""

    path: str
    seq: int = 0
    id: str = ""
    key: str = ""
    model: str = ""
    snapshot: str = ""
    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
    reasoning_tokens: int = 0
    total_tokens: int = 0
    pages: int = 0
    streamed: bool = False
    status: int = 500  # what a call that broke on a fault of ours is left with
    code: str | None = None
    outcome: str = "cut"
    events_sent: int = 0
    usage_sent: bool = False


class Truth:
    """The records, the sums per snapshot, and how often a labelled call was refused on purpose."""

    def __init__(self, records_max: int = RECORDS_MAX) -> None:
        self._records: deque[Record] = deque(maxlen=records_max)
        self.reset()

    def reset(self) -> None:
        """Forgets everything but the calls now under way."""
        self._records.clear()
        self._last_seq = 0
        self._sums: dict[str, Counter[str]] = {}
        self._outcomes: dict[str, Counter[str]] = {}
        self._errors_given: Counter[str] = Counter()
        self.in_flight = getattr(self, "in_flight", 0)

    def add(self, record: Record) -> None:
        """Writes down a call that ended."""
        self._last_seq += 1
        record.seq = self._last_seq
        self._records.append(record)
        sums = self._sums.setdefault(record.snapshot, Counter())
        sums["calls"] += 1
        for name in _SUMS:
            sums[name] += getattr(record, name)
        self._outcomes.setdefault(record.snapshot, Counter())[record.outcome] += 1

    def owes_error(self, label: str, times: int | None) -> bool:
        """Whether a call that was told to fail still has to; with `times`, only that often per label."""
        if times is None:
            return True
        if self._errors_given[label] >= times:
            return False
        if len(self._errors_given) >= _LABELS_MAX:
            self._errors_given.clear()
        self._errors_given[label] += 1
        return True

    def page(self, after: int, limit: int) -> dict[str, Any]:
        """Up to `limit` records with a seq above `after`, oldest first; `next` is the `after` of the following page."""
        first_seq = self._last_seq - len(self._records) + 1
        skip = max(0, after + 1 - first_seq)
        rows = [asdict(record) for record in islice(self._records, skip, skip + min(limit, PAGE_MAX))]
        more = bool(rows) and rows[-1]["seq"] < self._last_seq
        return {"data": rows, "next": rows[-1]["seq"] if more else None, "dropped": first_seq - 1}

    def totals(self) -> dict[str, Any]:
        """Sums per snapshot (refused calls without a model under ""), and over all."""
        models = {
            snapshot: {"calls": sums["calls"], **{name: sums[name] for name in _SUMS}, **self._outcome_counts(snapshot)}
            for snapshot, sums in sorted(self._sums.items())
        }
        total = {name: sum(model[name] for model in models.values()) for name in ("calls", *_SUMS, *_OUTCOMES)}
        dropped = self._last_seq - len(self._records)
        return {"models": models, "total": total, "in_flight": self.in_flight, "dropped": dropped}

    def _outcome_counts(self, snapshot: str) -> dict[str, int]:
        counts = self._outcomes[snapshot]
        return {outcome: counts[outcome] for outcome in _OUTCOMES}


_OUTCOMES = ("served", "refused", "cut", "client_gone")
