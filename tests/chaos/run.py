"""One run: the load, the faults in its middle, quiet again, the audit, a clean stop. Units: seconds."""

from __future__ import annotations

import asyncio
import random
import re
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import httpx
from redis.asyncio import Redis

from tests.chaos.audit import Verdict, judged, read_entries
from tests.chaos.blame import Blame, of_unknown_keys
from tests.chaos.faults import FAULTS, Saboteur, Struck
from tests.chaos.load import Attempt, Client
from tests.chaos.proofs import unproved
from tests.chaos.stage import Stage, open_stage

CLIENTS = 16
_PAUSE_S = (0.5, 1.5)
_QUIET_S = 60.0
_POLL_S = 0.1
_HOLDS, _USAGE = "{s0}:holds", "{s0}:usage"
_LABEL = re.compile(rb"\[\[sim: id=([A-Za-z0-9-]+) ")


@dataclass
class Report:
    """What a run did and what it found."""

    seed: str
    seconds: float
    clients: Sequence[Client]
    struck: Sequence[Struck]
    spoiled: Counter[str]
    verdict: Verdict
    held: Sequence[str]
    exit_code: int
    log_path: Path
    disk: str
    at_once: int = 1

    @property
    def is_clean(self) -> bool:
        return self.exit_code == 0 and not self.found

    @property
    def found(self) -> list[str]:
        """Everything that may not be; what two faults at once have done is not among it, since it is bounded call by call."""
        verdict = self.verdict
        zeros = [*verdict.lost, *verdict.doubled, *verdict.differing]
        return [*zeros, *verdict.beyond_bound, *self.held, *self.broken, *self.unexplained]

    @property
    def refused(self) -> list[tuple[str, Attempt]]:
        """Attempts that were told that our own stores are away: (label, attempt)."""
        calls = [told for client in self.clients for told in client.calls]
        return [(c.plan.label, t) for c in calls for t in c.tries if t.code == "service_unavailable" and not t.withheld]

    @cached_property
    def unknown_keys(self) -> set[str]:
        """Those of them that a worker refused because it could not read the key."""
        return of_unknown_keys(
            self.log_path.read_bytes(), [t.call_id for _, t in self.refused if t.call_id is not None]
        )

    @property
    def unexplained(self) -> list[str]:
        """Those while no store was away that they needed."""
        blame = Blame(self.struck)
        return [
            f"{label}: refused though no store was away that it needed: {attempt}"
            for label, attempt in self.refused
            if not blame.explains_refusal(attempt, key_was_unknown=attempt.call_id in self.unknown_keys)
        ]

    @property
    def withheld(self) -> int:
        """Calls that the model answered and nobody could book just then: charged, and not handed over."""
        calls = [told for client in self.clients for told in client.calls]
        return sum(not told.whole and any(attempt.withheld for attempt in told.tries) for told in calls)

    @property
    def broken(self) -> list[str]:
        """Calls that ended in an error of the gateway's own: whatever is away, it has words for it."""
        calls = [told for client in self.clients for told in client.calls]
        return [f"{told.plan.label}: {told.code}" for told in calls if told.code in ("internal_error", "no json")]

    def _logged(self, event: str) -> int:
        return self.log_path.read_text(errors="replace").count(event)

    def text(self) -> str:
        """For people, and for the next run: the seed replays it."""
        verdict, calls = self.verdict, [told for client in self.clients for told in client.calls]
        ended = Counter("answered" if told.whole else str(told.code) for told in calls)
        kinds = Counter(struck.kind for struck in self.struck)
        lines = [
            f"seed {self.seed}: {len(calls)} calls of {len(self.clients)} clients in {self.seconds:.0f} s, "
            f"{sum(told.attempts for told in calls)} attempts; the gateway exited with {self.exit_code}",
            "  ended: " + ", ".join(f"{what} {count}" for what, count in ended.most_common()),
            "  faults: " + (", ".join(f"{kind} {count}" for kind, count in sorted(kinds.items())) or "none"),
            "  open at each: "
            + ", ".join(f"{s.kind}@{s.at_s:g}s {s.open_at_clients}/{s.open_upstream}" for s in self.struck),
            f"  the journals' disk: {self.disk}; refused {self._logged('journal_refused')} times",
            "  connections spoiled: " + (", ".join(f"{k} {n}" for k, n in sorted(self.spoiled.items())) or "none"),
            f"  servings {verdict.servings}, entries {verdict.entries}: exact {verdict.exact}, estimated "
            + (", ".join(f"{why}: {count}" for why, count in sorted(verdict.estimated.items())) or "none"),
            f"  estimates: off by {verdict.estimate_error_tokens} of {verdict.estimate_true_tokens} tokens, "
            f"at most {verdict.estimate_error_max_tokens} a call; {verdict.unserved} of calls that upstream never heard of",
            f"  broken on the wire before a word was heard, not charged: {verdict.unheard}",
            f"  with an Idempotency-Key: {verdict.keyed}, answered again {verdict.replayed}, "
            f"attempts merged into one call {verdict.merged}; two faults at once: charged more than once {len(verdict.keyed_twice)}, "
            f"at most {verdict.keyed_twice_max}",
            f"  told that our stores are away: {len(self.refused)}, of these {len(self.unknown_keys)} with a key yet to be read, "
            f"{sum('Idempotency-Key' in t.message for _, t in self.refused)} with an Idempotency-Key that nobody could vouch for; "
            f"without a fault of that store {len(self.unexplained)}; answered and booked, not handed over {self.withheld}",
            f"  two faults at once: a worker and Redis's memory lost {len(verdict.lost_by_two)}, at most {verdict.lost_by_two_max}",
            f"  LOST {len(verdict.lost)}   DOUBLED {len(verdict.doubled)}   TOKENS DIFFERING {len(verdict.differing)}",
        ]
        told = [*self.found, *verdict.lost_by_two, *verdict.keyed_twice]
        return "\n".join([*lines, *(f"    {what}" for what in told[:40])])


async def run(
    folder: Path,
    seed: str,
    seconds: float,
    kinds: Sequence[str] = tuple(FAULTS),
    *,
    at_once: int = 1,
    pause_s: tuple[float, float] = _PAUSE_S,
) -> Report:
    """Play it once."""
    async with open_stage(folder, seed) as stage:
        clients = _new_clients(stage)
        stopping = asyncio.Event()
        calling = [asyncio.ensure_future(client.run(stage.front.url, seed, stopping)) for client in clients]
        saboteur = Saboteur(
            stage, lambda: sum(client.is_calling for client in clients), random.Random(f"{seed}/faults")
        )
        begun = time.monotonic()
        stage.spoiling(True)
        await saboteur.run(kinds, seconds, pause_s, at_once)
        stage.spoiling(False)
        stopping.set()
        await asyncio.gather(*calling)
        took_s = time.monotonic() - begun
        await _until_quiet(stage)
        spoiled = {found.decode() for up in stage.back.spoiled for found in _LABEL.findall(up)[-1:]}
        records = await asyncio.to_thread(stage.truth)
        entries = await read_entries(stage.stores.database_url)
        verdict = judged(clients, records, entries, spoiled, Blame(saboteur.struck))
        held = await asyncio.to_thread(_held, stage, clients) + await unproved(stage.stores.database_url)
        code = await asyncio.to_thread(stage.stop)
        faults = Counter({f"front {k}": n for k, n in stage.front.done.items()})
        faults.update({f"back {k}": n for k, n in stage.back.done.items()})
        return Report(
            seed,
            took_s,
            clients,
            saboteur.struck,
            faults,
            verdict,
            held,
            code,
            stage.log_path,
            stage.disk.kind,
            at_once,
        )


def _new_clients(stage: Stage) -> list[Client]:
    accounts = [
        stage.post("/accounts", {"name": "plain"}),
        stage.post("/accounts", {"name": "capped", "monthly_cap": "100.00"}),
        stage.post("/accounts", {"name": "limited", "limits": {"requests_per_minute": 5000, "concurrency": 50}}),
    ]
    clients = []
    for number in range(CLIENTS):
        key: Any = stage.post(f"/accounts/{accounts[number % 3]['id']}/keys", {"name": f"client {number}"})
        clients.append(Client(number, key["id"], key["secret"]))
    return clients


async def _is_busy(stage: Stage, redis: Redis) -> bool:
    return bool(
        await asyncio.to_thread(stage.in_flight)
        or await redis.zcard(_HOLDS)
        or await redis.xlen(_USAGE)
        or await asyncio.to_thread(stage.disk.records)
    )


async def _until_quiet(stage: Stage) -> None:
    """Until upstream answers nothing, no hold is left, and the ledger has everything."""
    redis = Redis.from_url(stage.stores.redis_url)
    try:
        async with asyncio.timeout(_QUIET_S):
            while await _is_busy(stage, redis):  # noqa: ASYNC110 - other processes have nobody to tell
                await asyncio.sleep(_POLL_S)
    finally:
        await redis.aclose()


def _held(stage: Stage, clients: Sequence[Client]) -> list[str]:
    """What accounts have held although nothing runs: it must be nothing."""
    found = []
    for client in clients[:3]:
        headers = {"authorization": f"Bearer {client.secret}"}
        month = httpx.get(f"{stage.url}/v1/account", headers=headers, trust_env=False, timeout=30).json()[
            "month_to_date"
        ]
        if month["held"].strip("0.") != "":
            found.append(f"{client.key_id}: {month['held']} is held though no call runs")
    return found
