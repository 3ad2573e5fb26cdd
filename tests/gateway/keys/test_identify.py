"""The cache of callers: bounded, short-lived, never older than it was, one reading at a time, and of use while Postgres is away."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from ipaddress import ip_network

import pytest
from msgspec.structs import replace

from gateway.call import Caller
from gateway.clock import Clock
from gateway.errors import AccountSuspended, InvalidApiKey, KeyNotAllowed, RateLimited, ServiceUnavailable
from gateway.keys.address import from_wire_address
from gateway.keys.guesses import Guesses
from gateway.keys.identify import Identify
from gateway.keys.secret import hash_of, new_secret
from tests.gateway.values import a_caller, no_bound

CALLER = a_caller("acc_00000001", epoch=5)


@dataclass
class Database:
    """A source of callers that the test steers: what it says, how often it was asked, and when it answers."""

    says: Caller | None = CALLER
    away: bool = False
    reads: int = 0
    gates: list[asyncio.Event] = field(default_factory=list)

    async def read(self, secret_hash: str) -> Caller | None:
        self.reads += 1
        said = self.says
        if self.gates:
            await self.gates.pop(0).wait()
        if self.away:
            raise ServiceUnavailable
        return said

    def gate(self) -> asyncio.Event:
        """The next reading sees what is true now, but answers only when this is set."""
        self.gates.append(asyncio.Event())
        return self.gates[-1]


def cache(
    database: Database, *, entries_max: int = 100, fresh_s: float = 60.0, guesses: Guesses | None = None
) -> Identify:
    return Identify(database.read, Clock(), entries_max=entries_max, fresh_s=fresh_s, guesses=guesses or no_bound())


async def started(identify: Identify, secret: str, *, fresh: bool = False) -> asyncio.Task[Caller]:
    """A question whose reading is under way."""
    task = asyncio.ensure_future(identify.caller_of(secret, fresh=fresh))
    for _ in range(3):
        await asyncio.sleep(0)
    return task


async def test_a_caller_is_read_once_while_it_is_fresh() -> None:
    database, secret = Database(), new_secret()
    identify = cache(database)
    assert [await identify.caller_of(secret) for _ in range(5)] == [CALLER] * 5
    assert database.reads == 1
    await identify.caller_of(secret, fresh=True)
    assert database.reads == 2


async def test_an_entry_that_is_no_longer_fresh_is_read_again() -> None:
    database, secret = Database(), new_secret()
    identify = cache(database, fresh_s=0)
    await identify.caller_of(secret)
    database.says = replace(CALLER, epoch=6)
    assert (await identify.caller_of(secret)).epoch == 6


async def test_the_cache_is_bounded_and_the_oldest_reading_leaves_first() -> None:
    database, secrets = Database(), [new_secret() for _ in range(10)]
    identify = cache(database, entries_max=3)
    for secret in secrets:
        await identify.caller_of(secret)
    assert len(identify._known) == 3
    assert len(identify._reading) == 0
    await identify.caller_of(secrets[-1])
    assert database.reads == 10
    await identify.caller_of(secrets[0])
    assert database.reads == 11


async def test_many_at_once_share_one_reading_even_if_the_first_gives_up() -> None:
    database, secret = Database(), new_secret()
    identify, gate = cache(database), database.gate()
    first = await started(identify, secret)
    others = [await started(identify, secret) for _ in range(20)]
    first.cancel()
    gate.set()
    assert await asyncio.gather(*others) == [CALLER] * 20
    assert database.reads == 1


async def test_a_failing_reading_fails_all_who_wait_and_is_not_kept() -> None:
    database, secret = Database(away=True), new_secret()
    identify, gate = cache(database), database.gate()
    waiting = [await started(identify, secret) for _ in range(3)]
    gate.set()
    assert {type(error) for error in await asyncio.gather(*waiting, return_exceptions=True)} == {ServiceUnavailable}
    database.away = False
    assert await identify.caller_of(secret) == CALLER
    assert database.reads == 2


async def test_an_older_reading_never_replaces_a_newer_one() -> None:
    database, secret = Database(), new_secret()
    identify, gate = cache(database), database.gate()
    old = await started(identify, secret)
    database.says = replace(CALLER, epoch=6)
    assert (await identify.caller_of(secret, fresh=True)).epoch == 6
    gate.set()
    assert (await old).epoch == 6
    assert (await identify.caller_of(secret)).epoch == 6


async def test_a_key_seen_dead_is_not_brought_back_by_an_older_reading() -> None:
    database, secret = Database(), new_secret()
    identify, gate = cache(database), database.gate()
    old = await started(identify, secret)
    database.says = None
    with pytest.raises(InvalidApiKey):
        await identify.caller_of(secret, fresh=True)
    gate.set()
    with pytest.raises(InvalidApiKey):
        await old
    with pytest.raises(InvalidApiKey):
        await identify.caller_of(secret)
    assert database.reads == 2


async def test_a_new_key_is_not_hidden_by_an_older_reading_that_did_not_find_it() -> None:
    database, secret = Database(says=None), new_secret()
    identify, gate = cache(database), database.gate()
    old = await started(identify, secret)
    database.says = CALLER
    assert await identify.caller_of(secret, fresh=True) == CALLER
    gate.set()
    assert await old == CALLER


@pytest.mark.parametrize("secret", ["", "sk-other", "sk-solar-" + "x" * 400])
async def test_what_is_no_secret_is_refused_without_a_reading(secret: str) -> None:
    database = Database()
    with pytest.raises(InvalidApiKey):
        await cache(database).caller_of(secret)
    assert database.reads == 0


async def test_unknown_expired_and_suspended_are_refused_also_from_the_cache() -> None:
    now = datetime.now(UTC)
    cases = [
        (None, InvalidApiKey),
        (replace(CALLER, expires_at=now - timedelta(seconds=1)), InvalidApiKey),
        (replace(CALLER, expires_at=now), InvalidApiKey),
        (replace(CALLER, suspended=True), AccountSuspended),
    ]
    for says, kind in cases:
        database, secret = Database(says=says), new_secret()
        identify = cache(database)
        for _ in range(2):
            with pytest.raises(kind):
                await identify.caller_of(secret)
        assert database.reads == 1


async def test_a_cached_key_ends_at_its_expiry_without_a_reading() -> None:
    database, secret = Database(says=replace(CALLER, expires_at=datetime.now(UTC) + timedelta(hours=1))), new_secret()
    identify = cache(database)
    await identify.caller_of(secret)
    identify._clock = Clock(3601 * 10**9)
    with pytest.raises(InvalidApiKey):
        await identify.caller_of(secret)
    assert database.reads == 1


async def test_while_postgres_is_away_a_known_caller_goes_on_and_an_unknown_one_is_told_so() -> None:
    database, secret = Database(), new_secret()
    identify = cache(database, fresh_s=0)
    await identify.caller_of(secret)
    database.away = True
    assert await identify.caller_of(secret) == replace(CALLER, confirmed=False)
    with pytest.raises(ServiceUnavailable):
        await identify.caller_of(new_secret())
    # Admission said that the caller is old: what is known is not good enough.
    with pytest.raises(ServiceUnavailable):
        await identify.caller_of(secret, fresh=True)
    database.away, database.says = False, None
    with pytest.raises(InvalidApiKey):
        await identify.caller_of(secret)
    database.away = True
    with pytest.raises(ServiceUnavailable):
        await identify.caller_of(secret)


async def test_a_secret_itself_is_nowhere_in_the_cache() -> None:
    secret = new_secret()
    identify = cache(Database())
    await identify.caller_of(secret)
    assert secret not in repr(identify._known)
    assert hash_of(secret) in identify._known


async def test_an_address_that_shows_unknown_keys_is_slowed_while_the_key_in_use_there_goes_on() -> None:
    database, secret = Database(), new_secret()
    identify = cache(database, fresh_s=0, guesses=Guesses(burst=3, per_minute=1, addresses_max=10))
    await identify.caller_of(secret)
    database.says = None
    for _ in range(3):
        with pytest.raises(InvalidApiKey):
            await identify.caller_of(new_secret())
    reads = database.reads
    for _ in range(20):
        with pytest.raises(RateLimited):
            await identify.caller_of(new_secret())
    assert database.reads == reads
    database.says = CALLER
    assert await identify.caller_of(secret) == CALLER


async def test_a_thousand_guesses_at_once_are_no_more_look_ups_than_the_allowance() -> None:
    database = Database(says=None)
    identify = cache(database, guesses=Guesses(burst=7, per_minute=1, addresses_max=10))
    errors = await asyncio.gather(*[identify.caller_of(new_secret()) for _ in range(1000)], return_exceptions=True)
    assert database.reads == 7
    assert [sum(isinstance(e, kind) for e in errors) for kind in (InvalidApiKey, RateLimited)] == [7, 993]


async def test_the_first_hundred_calls_at_once_of_a_new_key_are_one_look_up_and_no_hundred_guesses() -> None:
    database, secret = Database(), new_secret()
    identify = cache(database, guesses=Guesses(burst=3, per_minute=1, addresses_max=10))
    assert await asyncio.gather(*[identify.caller_of(secret) for _ in range(100)]) == [CALLER] * 100
    assert database.reads == 1


async def test_a_revoked_or_expired_key_is_no_guess_and_stays_a_401() -> None:
    for says in (replace(CALLER, revoked=True), replace(CALLER, expires_at=datetime.now(UTC))):
        identify = cache(Database(says=says), fresh_s=0, guesses=Guesses(burst=2, per_minute=1, addresses_max=10))
        secret = new_secret()
        for _ in range(20):
            with pytest.raises(InvalidApiKey):
                await identify.caller_of(secret)


async def test_a_key_with_ranges_is_refused_from_everywhere_else_and_from_nowhere() -> None:
    says = replace(CALLER, networks=(ip_network("192.0.2.0/24"), ip_network("2001:db8::/32")))
    identify, secret = cache(Database(says=says)), new_secret()
    for text in ("192.0.2.9", "2001:db8::9"):
        assert await identify.caller_of(secret, partial(from_wire_address, text)) == says
    for text in ("192.0.3.1", "2001:db9::1", ""):
        with pytest.raises(KeyNotAllowed):
            await identify.caller_of(secret, partial(from_wire_address, text))
