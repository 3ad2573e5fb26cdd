"""Keys revoked in the very instant in which Redis and Postgres both vanish: for how long they still open the gateway, at the most.

Nobody can tell the workers. What bounds a key's life is its last confirmation: a second, or, with `offline_keys: allow`, so long after
Redis went away (a quarter of a second later at most, until that is noticed). Measured over many keys and workers; the maximum counts.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from billing.usage import Usage
from gateway.admission.standby import OfflineRules
from gateway.call import Caller
from gateway.clock import Clock
from gateway.errors import GatewayError, InvalidApiKey, ServiceUnavailable
from gateway.keys.identify import Identify
from gateway.keys.secret import hash_of, new_secret
from tests.gateway.admission.outage import Outage, an_outage
from tests.gateway.admission.shard import Shard
from tests.gateway.values import a_call, a_caller, new_account_id, no_bound

KEYS, WORKERS, FRESH_S, SHARE_NANO = 20, 3, 0.9, 10**10


@dataclass
class Keys:
    """What Postgres would say of each secret, while it says anything."""

    callers: dict[str, Caller] = field(default_factory=dict)
    away: bool = False

    async def read(self, secret_hash: str) -> Caller | None:
        if self.away:
            raise ServiceUnavailable
        return self.callers.get(secret_hash)


@pytest.fixture
async def outage(tmp_path: Path) -> AsyncIterator[Outage]:
    async with an_outage(tmp_path) as made:
        yield made


async def opens(identify: Identify, worker: Shard, secret: str) -> bool:
    """Is a call with this key let in?"""
    try:
        hold = await worker.admit(a_call(await identify.caller_of(secret), prompt_max=1, output_max=1))
        await worker.settle(hold, Usage(1, 0, 1))
    except InvalidApiKey:
        raise AssertionError("somebody knew that it was revoked") from None
    except GatewayError:
        return False
    return True


@pytest.mark.parametrize(("policy", "allowed_s"), [("refuse", 0.0), ("allow", 2.5)])
async def test_no_key_outlives_its_last_confirmation_by_more_than_is_stated(
    outage: Outage, policy: str, allowed_s: float
) -> None:
    keys, secrets = Keys(), [new_secret() for _ in range(KEYS)]
    keys.callers = {str(hash_of(secret)): a_caller(new_account_id()) for secret in secrets}
    rules = OfflineRules(unconfirmed_keys_s=allowed_s)
    async with AsyncExitStack() as stack:
        workers = [
            await stack.enter_async_context(outage.running_worker(share_nano=SHARE_NANO, rules=rules))
            for _ in range(WORKERS)
        ]
        doors = [
            (Identify(keys.read, Clock(), entries_max=100, fresh_s=FRESH_S, guesses=no_bound()), worker)
            for worker in workers
        ]
        for identify, worker in doors:
            assert all([await opens(identify, worker, secret) for secret in secrets])
        keys.away = True  # … and every key is revoked, which nobody hears of
        revoked = time.monotonic()
        await outage.valkey.kill()
        lived_s, served = 0.0, 0

        async def use(identify: Identify, worker: Shard, secret: str) -> None:
            nonlocal lived_s, served
            while (began := time.monotonic()) - revoked < allowed_s + 2.5:
                if await opens(identify, worker, secret):
                    lived_s, served = max(lived_s, began - revoked), served + 1
                await asyncio.sleep(0.05)

        await asyncio.gather(*[use(*door, secret) for door in doors for secret in secrets])
        print(
            f"\nRedis and Postgres away, offline_keys {policy} ({allowed_s} s): {KEYS} keys at {WORKERS} workers let in {served} "
            f"times; the longest-lived {lived_s * 1000:.0f} ms after its end"
        )
        assert served > 0
        assert lived_s <= max(1.0, allowed_s + 0.5)
        await outage.valkey.start()
