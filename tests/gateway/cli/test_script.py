"""The console script as a user runs it, in a process of its own."""

from __future__ import annotations

import subprocess
import sys

from tests.gateway.cli.office import Office
from tests.running import command

_GROUPS = ("accounts", "keys", "club", "prices", "month", "invoices", "shares", "usage")


def test_the_script_and_the_module_name_every_command() -> None:
    starts = (command(), [sys.executable, "-m", "gateway.cli"])
    running = [subprocess.Popen([*start, "--help"], stdout=subprocess.PIPE, text=True) for start in starts]
    for process in running:
        text, _ = process.communicate(timeout=60)
        assert process.returncode == 0
        assert [name for name in ("serve", "work", "migrate", "demo", *_GROUPS) if f"│ {name} " not in text] == []


def test_the_token_of_a_sandbox_is_found_in_its_data_directory(office: Office) -> None:
    environment = {"GATEWAY_URL": office.gateway.url, "GATEWAY_DATA_DIR": str(office.gateway.data_dir)}
    said = office.script("prices", "fx-list", "--json", environment=environment)
    assert (said.code, said.stderr) == (0, "")
    assert said.json["next"] is None
