"""`solar-gateway serve` as a process: it stops clean, replaces its dead, leaves no orphans, keeps its data, and lives in any month."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from pathlib import Path

import httpx
import psutil
import pytest

from tests.gateway.test_refusals import CHAT
from tests.running import Gateway, command
from tests.waiting import wait_until

_GONE_S = 15


def family(pid: int) -> list[psutil.Process]:
    """A process and all that it started."""
    parent = psutil.Process(pid)
    return [parent, *parent.children(recursive=True)]


def all_gone(processes: list[psutil.Process]) -> bool:
    return not any(alive(process) for process in processes)


def alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def workers_of(gateway: Gateway) -> list[psutil.Process]:
    found = []
    for process in family(gateway.process.pid)[1:]:
        with contextlib.suppress(psutil.NoSuchProcess):
            if "gateway.processes.worker" in process.cmdline():
                found.append(process)
    return found


def test_killed_with_minus_9_it_leaves_no_process_behind(tmp_path: Path) -> None:
    gateway = Gateway.start(tmp_path)
    processes = family(gateway.process.pid)
    assert len(processes) >= 6  # supervisor, worker, jobs, Postgres and its own, Valkey, Solar
    gateway.process.kill()
    gateway.process.wait()
    gateway.operator.close()
    wait_until(lambda: all_gone(processes), _GONE_S, "every process of the sandbox is gone")


def test_ctrl_c_ends_it_with_0_and_its_data_are_there_at_the_next_start(tmp_path: Path) -> None:
    first = Gateway.start(tmp_path)
    processes = family(first.process.pid)
    secret = first.new_key()
    with first.caller(secret) as caller:
        caller.post("/chat/completions", json=CHAT)
    # Ctrl-C reaches the whole foreground group of a terminal.
    os.killpg(first.process.pid, signal.SIGINT)
    assert first.process.wait(60) == 0, first.log()
    first.operator.close()
    assert all_gone(processes)
    with Gateway.started(tmp_path) as second, second.caller(secret) as caller:
        assert caller.get("/usage").json()["total"]["calls"] == 1
        assert caller.post("/chat/completions", json=CHAT).status_code == 200


def test_a_dead_worker_is_replaced_and_the_others_go_on(tmp_path: Path) -> None:
    with Gateway.started(tmp_path, workers=2) as gateway:
        secret = gateway.new_key()
        before = workers_of(gateway)
        assert len(before) == 2
        before[0].kill()
        wait_until(lambda: len({p.pid for p in workers_of(gateway)} - {before[0].pid}) == 2, 20, "a new worker runs")
        with gateway.caller(secret) as caller:
            assert [caller.post("/chat/completions", json=CHAT).status_code for _ in range(4)] == [200] * 4


def test_a_month_can_be_lived_through_and_closed_by_the_sandboxs_clock(tmp_path: Path) -> None:
    in_october = {"GATEWAY_SANDBOX_CLOCK": "2026-10-31T14:58:00Z"}  # 23:58 in Seoul
    with Gateway.started(tmp_path, environment=in_october) as gateway:
        secret = gateway.new_key()
        with gateway.caller(secret) as caller:
            assert caller.post("/chat/completions", json=CHAT).status_code == 200
            assert caller.get("/account").json()["month"] == "2026-10"
        early = gateway.operator.post("/months/2026-10/close", json={})
        assert (early.status_code, early.json()["error"]["code"]) == (409, "month_not_over")
    after_grace = {"GATEWAY_SANDBOX_CLOCK": "2026-10-31T17:00:01Z"}  # two hours and a second past midnight in Seoul
    with Gateway.started(tmp_path, environment=after_grace) as gateway:
        closed = gateway.post("/months/2026-10/close", {})
        assert [invoice["number"] for invoice in closed["invoices"]] == ["2026-000001"]
        assert gateway.post("/months/2026-10/close", {}) == closed
        with gateway.caller(secret) as caller:
            assert caller.get("/invoices").json()["data"][0]["month"] == "2026-10"


def test_the_ops_port_tells_life_readiness_and_metrics_of_all_processes(tmp_path: Path) -> None:
    with Gateway.started(tmp_path, workers=2, environment={"GATEWAY_OPS_PORT": "29464"}) as gateway:
        secret = gateway.new_key()
        with gateway.caller(secret) as caller:
            for _ in range(4):
                caller.post("/chat/completions", json=CHAT)
            caller.get("/usage")
        ops = "http://127.0.0.1:29464"
        assert httpx.get(f"{ops}/livez", trust_env=False).text == "ok"
        assert httpx.get(f"{ops}/readyz", trust_env=False).status_code == 200

        def four_calls() -> str:
            seen = httpx.get(f"{ops}/metrics", trust_env=False).text
            return seen if 'solar_calls_total{outcome="whole"} 4.0' in seen else ""

        metrics = wait_until(four_calls, 5, "four calls are counted")
    assert "solar_call_seconds_count 4.0" in metrics
    assert "solar_drained_records_total 4.0" in metrics


@pytest.mark.parametrize(
    ("arguments", "environment", "says"),
    [
        (["serve"], {}, "GATEWAY_DATABASE_URL"),
        (["serve"], {"GATEWAY_SANDBOX_CLOCK": "2026-10-31T14:59:00Z"}, "GATEWAY_SANDBOX_CLOCK"),
        (["serve", "--sandbox"], {"GATEWAY_SANDBOX_CLOCK": "yesterday"}, "GATEWAY_SANDBOX_CLOCK"),
        (["serve", "--sandbox"], {"GATEWAY_REQUEST_BODY_MAX_BYTES": "-3"}, "GATEWAY_REQUEST_BODY_MAX_BYTES"),
        (["migrate"], {}, "GATEWAY_DATABASE_URL"),
        (["serve", "--workers", "0"], {}, "--workers"),
    ],
)
def test_a_wrong_setting_is_one_clear_line_and_exit_2(
    arguments: list[str], environment: dict[str, str], says: str
) -> None:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("GATEWAY_")}
    done = subprocess.run(
        [*command(), *arguments], env=clean | environment, capture_output=True, text=True, timeout=30, check=False
    )
    assert done.returncode == 2, done.stderr
    assert says in done.stderr
    assert "Traceback" not in done.stderr


def test_a_port_that_is_taken_and_a_data_directory_in_use_are_told_and_exit_1(gateway: Gateway, tmp_path: Path) -> None:
    port = gateway.url.rpartition(":")[2]
    clean = {name: value for name, value in os.environ.items() if not name.startswith("GATEWAY_")}
    for data_dir, arguments in ((tmp_path, ["--port", port]), (gateway.data_dir, ["--port", "0"])):
        done = subprocess.run(
            [*command(), "serve", "--sandbox", *arguments],
            env={**clean, "GATEWAY_DATA_DIR": str(data_dir), "GATEWAY_OPS_PORT": "0"},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 1, done.stderr
        assert done.stderr.startswith("error: ")
        assert "Traceback" not in done.stderr
