"""A key's life in a real Postgres, as the call path reads it: created, limited, rotated with overlap, revoked, expired."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from sqlmodel import col, select

from billing.accounts import store as accounts
from billing.accounts.store import AccountNotFound
from billing.accounts.tables import AuditEntry
from billing.database import Sessions, open_engine, sessions_of
from gateway.call import Caller, RateLimit
from gateway.clock import Clock
from gateway.errors import Conflict, InvalidApiKey, ServiceUnavailable
from gateway.keys.identify import Identify, reader_of_callers
from gateway.keys.lifecycle import KeyNotFound, create_key, keys_of, revoke_key, rotate_key
from gateway.keys.prices import PriceTable, reader_of_cards
from gateway.keys.secret import hash_of, prefix_of
from tests.gateway.values import no_bound

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)


async def new_account(sessions: Sessions, **fields: Any) -> str:
    async with sessions.begin() as session:
        return (await accounts.create(session, {"name": "one", **fields}, "test", NOW)).id


async def new_key(sessions: Sessions, account_id: str, **fields: Any) -> tuple[str, str, int]:
    """(id, secret, epoch)"""
    async with sessions.begin() as session:
        key, secret, epoch = await create_key(session, account_id, {"name": "k", **fields}, "test", NOW)
        return key.id, secret, epoch


async def caller_of(sessions: Sessions, secret: str, at: datetime = NOW) -> Caller:
    clock = Clock.starting_at(at)
    identify = Identify(reader_of_callers(sessions, clock), clock, entries_max=9, fresh_s=1, guesses=no_bound())
    return await identify.caller_of(secret)


async def test_a_new_key_is_stored_as_a_hash_and_known_by_its_secret(sessions: Sessions) -> None:
    account_id = await new_account(sessions)
    key_id, secret, epoch = await new_key(sessions, account_id)
    async with sessions() as session:
        (row,) = await keys_of(session, account_id)
    assert (row.secret_hash, row.prefix) == (hash_of(secret), prefix_of(secret))
    assert secret not in repr(row)
    caller = await caller_of(sessions, secret)
    assert (caller.account_id, caller.key_id, caller.epoch) == (account_id, key_id, epoch)


async def test_limits_caps_and_scopes_of_account_and_key_reach_the_caller(sessions: Sessions) -> None:
    account_id = await new_account(
        sessions, monthly_cap=Decimal("12.5"), billing="prepaid", prepaid_balance=Decimal(3), requests_per_minute=60
    )
    scopes = {"models": ["solar-pro4"], "endpoints": ["chat"]}
    key_id, secret, _ = await new_key(sessions, account_id, monthly_cap=Decimal("0.01"), concurrency=2, scopes=scopes)
    caller = await caller_of(sessions, secret)
    assert caller.rate_limits == (RateLimit(f"a:{account_id}", 60), RateLimit(f"k:{key_id}", concurrency=2))
    assert (caller.monthly_cap_nano_usd, caller.key_cap_nano_usd) == (12_500_000_000, 10_000_000)
    assert caller.prepaid_nano_usd == 3_000_000_000
    assert (caller.models, caller.endpoints) == (frozenset(["solar-pro4"]), frozenset(["chat"]))


async def test_a_cap_that_redis_could_not_count_is_cut_to_what_it_can(sessions: Sessions) -> None:
    account_id = await new_account(sessions, monthly_cap=Decimal(10) ** 15)
    _, secret, _ = await new_key(sessions, account_id)
    assert (await caller_of(sessions, secret)).monthly_cap_nano_usd == 9_000_000 * 10**9


async def test_a_cap_in_won_without_a_rate_lets_nothing_pass(sessions: Sessions) -> None:
    account_id = await new_account(sessions, currency="KRW", monthly_cap=Decimal(1000))
    _, secret, _ = await new_key(sessions, account_id)
    assert (await caller_of(sessions, secret)).monthly_cap_nano_usd == 0


async def test_both_keys_of_a_rotation_live_until_the_overlap_ends(sessions: Sessions) -> None:
    account_id = await new_account(sessions)
    key_id, secret, epoch = await new_key(sessions, account_id, tokens_per_minute=9, scopes={"models": ["solar-pro4"]})
    async with sessions.begin() as session:
        heir, heir_secret, heir_epoch = await rotate_key(session, key_id, 600, "test", NOW)
    assert heir_epoch == epoch + 1
    assert (heir.rotated_from, heir.tokens_per_minute, heir.expires_at) == (key_id, 9, None)
    ends = NOW + timedelta(seconds=600)
    just_before = ends - timedelta(milliseconds=500)
    assert (await caller_of(sessions, secret, just_before)).key_id == key_id
    assert (await caller_of(sessions, heir_secret, just_before)).models == frozenset(["solar-pro4"])
    with pytest.raises(InvalidApiKey):
        await caller_of(sessions, secret, ends)
    assert (await caller_of(sessions, heir_secret, ends)).key_id == heir.id


async def test_a_rotation_without_overlap_ends_the_old_key_at_once(sessions: Sessions) -> None:
    key_id, secret, _ = await new_key(sessions, await new_account(sessions))
    async with sessions.begin() as session:
        await rotate_key(session, key_id, 0, "test", NOW)
    with pytest.raises(InvalidApiKey):
        await caller_of(sessions, secret)


async def test_a_rotation_never_lengthens_a_life_and_a_second_one_never_the_overlap(sessions: Sessions) -> None:
    ends = NOW + timedelta(seconds=60)
    key_id, secret, _ = await new_key(sessions, await new_account(sessions), expires_at=ends)
    for overlap_s in (3600, 3600):
        async with sessions.begin() as session:
            heir, _, _ = await rotate_key(session, key_id, overlap_s, "test", NOW)
        assert heir.expires_at == ends
    assert (await caller_of(sessions, secret)).expires_at == ends
    with pytest.raises(InvalidApiKey):
        await caller_of(sessions, secret, ends)


async def test_a_revoked_key_is_dead_for_good_and_has_no_heir(sessions: Sessions) -> None:
    account_id = await new_account(sessions)
    key_id, secret, epoch = await new_key(sessions, account_id)
    revoked_at = set()
    for days in range(2):
        async with sessions.begin() as session:
            row, new_epoch = await revoke_key(session, key_id, "test", NOW + timedelta(days=days))
            revoked_at.add(row.revoked_at)
    assert revoked_at == {NOW}
    assert new_epoch > epoch
    with pytest.raises(InvalidApiKey):
        await caller_of(sessions, secret)
    with pytest.raises(Conflict) as error:
        async with sessions.begin() as session:
            await rotate_key(session, key_id, 60, "test", NOW)
    assert (error.value.status, error.value.code) == (409, "key_revoked")


async def test_what_does_not_exist_is_said_to_be_missing(sessions: Sessions) -> None:
    for step in (lambda s: rotate_key(s, "key_x", 0, "test", NOW), lambda s: revoke_key(s, "key_x", "test", NOW)):
        with pytest.raises(KeyNotFound, match="key_x"):
            async with sessions.begin() as session:
                await step(session)
    with pytest.raises(AccountNotFound):
        await new_key(sessions, "acc_x")


async def test_every_step_raises_the_epoch_and_is_in_the_audit_log(sessions: Sessions) -> None:
    account_id = await new_account(sessions)
    key_id, _, first = await new_key(sessions, account_id)
    async with sessions.begin() as session:
        heir, _, second = await rotate_key(session, key_id, 60, "alice", NOW)
    async with sessions.begin() as session:
        _, third = await revoke_key(session, key_id, "bob", NOW)
    assert first < second < third
    async with sessions() as session:
        rows = (await session.execute(select(AuditEntry).order_by(col(AuditEntry.id)))).scalars().all()
    steps = [(row.actor, row.action, row.subject) for row in rows if row.subject in (key_id, heir.id)]
    assert steps == [
        ("test", "key.create", key_id),
        ("alice", "key.rotate", key_id),
        ("alice", "key.create", heir.id),
        ("bob", "key.revoke", key_id),
    ]


async def test_keys_made_at_once_each_raise_the_epoch_by_one(sessions: Sessions) -> None:
    account_id = await new_account(sessions)
    made = await asyncio.gather(*[new_key(sessions, account_id) for _ in range(8)])
    assert sorted(epoch for _, _, epoch in made) == list(range(2, 10))


async def test_a_database_that_is_not_there_is_service_unavailable(unused_tcp_port: int) -> None:
    engine = open_engine(f"postgresql://nobody@127.0.0.1:{unused_tcp_port}/none", connect_timeout_s=1)
    away = sessions_of(engine)
    with pytest.raises(ServiceUnavailable):
        await caller_of(away, "sk-solar-anything")
    with pytest.raises(ServiceUnavailable):
        await PriceTable(reader_of_cards(away)).refresh()
    await engine.dispose()
