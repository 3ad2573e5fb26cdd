"""How the sandbox's stores end: by kill, by Ctrl-C, with their parent, in the middle of a start. Times are seconds."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import asyncpg
import pytest
from redis.asyncio import Redis

from gateway.sandbox.postgres import Postgres
from gateway.sandbox.processes import Child, FileLock, SandboxTimeout
from gateway.sandbox.stores import Stores
from gateway.sandbox.valkey import Valkey

REPOSITORY = Path(__file__).resolve().parents[3]
GONE_S = 5.0
PARENT = """
import asyncio, json, pathlib, signal, sys
from gateway.sandbox.stores import Stores

async def main():
    async with Stores.open(pathlib.Path(sys.argv[1])) as stores:
        pids = stores.postgres.pid, stores.valkey.pid
        print(json.dumps([pids, stores.database_url, stores.redis_url]), flush=True)
        await asyncio.sleep(60)

signal.signal(signal.SIGINT, signal.default_int_handler)  # whoever runs the tests in the background has it ignored
asyncio.run(main())
"""


@contextmanager
def a_parent_of(data_dir: Path) -> Iterator[tuple[subprocess.Popen[bytes], tuple[int, int], str, str]]:
    """A process of its own that has opened the stores; and their pids and addresses."""
    command = [sys.executable, "-c", PARENT, str(data_dir)]
    with subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, start_new_session=True) as parent:
        try:
            assert parent.stdout is not None
            (postgres, valkey), database_url, redis_url = json.loads(parent.stdout.readline())
            yield parent, (postgres, valkey), database_url.replace("+asyncpg", ""), redis_url
        finally:
            parent.kill()


def is_gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def nothing_left(data_dir: Path) -> bool:
    """The lock that every process of a server inherits is free: not one is left, helpers and sessions included."""
    locks = [FileLock(data_dir / f"{name}.server.lock") for name in ("postgres", "valkey")]
    free = [lock.take() for lock in locks]
    for lock in locks:
        lock.let_go()
    return all(free)


async def becomes_true(fact: Callable[[], bool], within_s: float) -> bool:
    deadline_s = time.monotonic() + within_s
    while not fact():
        if time.monotonic() > deadline_s:
            return False
        await asyncio.sleep(0.01)
    return True


async def test_committed_data_survive_a_kill_of_postgres_and_it_returns_on_the_same_port(tmp_path: Path) -> None:
    postgres = Postgres(tmp_path)
    await postgres.start()
    url, pid = postgres.url, postgres.pid
    connection = await asyncpg.connect(url.replace("+asyncpg", ""))
    await connection.execute("CREATE TABLE kept AS SELECT 7 AS tokens")
    await postgres.kill()
    assert is_gone(pid)
    await postgres.start()
    assert postgres.url == url
    connection = await asyncpg.connect(url.replace("+asyncpg", ""))
    assert await connection.fetchval("SELECT tokens FROM kept") == 7
    await connection.close()
    await postgres.stop()
    assert "not properly shut down" in postgres.log_path.read_text()


async def test_acknowledged_writes_survive_a_kill_of_valkey_and_it_returns_on_the_same_port(tmp_path: Path) -> None:
    valkey = Valkey(tmp_path, appendfsync="always")
    await valkey.start()
    url, pid = valkey.url, valkey.pid
    async with Redis.from_url(url) as redis:
        await redis.set("kept", 7)
    await valkey.kill()
    assert is_gone(pid)
    await valkey.start()
    assert valkey.url == url
    async with Redis.from_url(url) as redis:
        assert await redis.get("kept") == b"7"
    await valkey.stop()


async def test_after_kill_9_of_the_parent_both_vanish_and_the_next_start_finds_everything(tmp_path: Path) -> None:
    with a_parent_of(tmp_path) as (parent, pids, database_url, redis_url):
        session = await asyncpg.connect(database_url)
        await session.execute("CREATE TABLE kept AS SELECT 7 AS tokens")
        async with Redis.from_url(redis_url) as redis:
            await redis.set("kept", 7)
        parent.kill()
        assert await becomes_true(lambda: all(map(is_gone, pids)), GONE_S)
        assert await becomes_true(lambda: nothing_left(tmp_path), GONE_S)
    async with Stores.open(tmp_path) as stores:
        connection = await asyncpg.connect(stores.database_url.replace("+asyncpg", ""))
        assert await connection.fetchval("SELECT tokens FROM kept") == 7
        await connection.close()
        async with Redis.from_url(stores.redis_url) as redis:
            assert await redis.get("kept") == b"7"


async def test_a_start_right_after_kill_9_of_the_parent_waits_for_the_old_servers_and_works(tmp_path: Path) -> None:
    with a_parent_of(tmp_path) as (parent, pids, _, _):
        parent.kill()
        parent.wait()
        async with Stores.open(tmp_path) as stores:
            assert all(map(is_gone, pids))
            assert stores.postgres.running
            assert stores.valkey.running


async def test_ctrl_c_reaches_the_parent_alone_and_it_stops_both_in_order(tmp_path: Path) -> None:
    with a_parent_of(tmp_path) as (parent, pids, _, _):
        assert parent.pid not in {os.getpgid(pid) for pid in pids}
        os.killpg(parent.pid, signal.SIGINT)
        assert await becomes_true(lambda: parent.poll() is not None, 20)
        assert all(map(is_gone, pids))
    assert "database system is shut down" in (tmp_path / "logs" / "postgres.log").read_text()
    assert "ready to exit, bye bye" in (tmp_path / "logs" / "valkey.log").read_text()


@pytest.mark.parametrize("after_s", [0.05, 0.4])
async def test_a_start_cancelled_half_way_leaves_no_process_and_can_be_repeated(tmp_path: Path, after_s: float) -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(after_s):
            await Stores(tmp_path).start()
    assert await becomes_true(lambda: nothing_left(tmp_path), GONE_S)
    async with Stores.open(tmp_path) as stores:
        assert stores.postgres.running
    assert not [name for name in os.listdir(tmp_path) if name.startswith("postgres.new-")]


async def test_a_leftover_pid_file_that_names_a_living_stranger_is_no_obstacle(tmp_path: Path) -> None:
    stranger, postgres = Postgres(tmp_path / "stranger"), Postgres(tmp_path / "ours")
    await asyncio.gather(stranger.start(), postgres.start())
    pid_file = postgres.home / "postmaster.pid"
    text = pid_file.read_text()
    await postgres.kill()
    pid_file.write_text(text.replace(text.split("\n")[0], str(stranger.pid), 1))
    await postgres.start()
    assert stranger.running
    await asyncio.gather(stranger.stop(), postgres.stop())


async def test_a_child_that_will_not_listen_is_killed_and_one_that_will_not_end_is_named(tmp_path: Path) -> None:
    deaf = (
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); time.sleep(60)"
    )
    child = Child.spawn([sys.executable, "-c", deaf], name="deaf", log_path=tmp_path / "deaf.log")
    assert await becomes_true(lambda: "deaf" in (tmp_path / "deaf.log").read_text(), 10)
    with pytest.raises(SandboxTimeout, match=r"deaf \(pid \d+\) still runs after 0.1 s. Next: see .*deaf\.log"):
        await child.wait(0.1)
    assert await child.stop(signal.SIGTERM, grace_s=0.2) == -signal.SIGKILL
    assert not child.running


async def test_a_child_whose_program_is_missing_ends_at_once_with_the_reason_in_its_log(tmp_path: Path) -> None:
    child = Child.spawn([str(tmp_path / "absent")], name="absent", log_path=tmp_path / "absent.log")
    assert await child.wait(10) == 126
    assert "No such file" in (tmp_path / "absent.log").read_text()
