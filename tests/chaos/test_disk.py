"""The small disk of chaos really fills up, in either of its kinds, and has room again."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.chaos.disk import SmallDisk, small_disk

_WRITER = """
import sys
for number, _ in enumerate(sys.stdin):
    try:
        with open(f"{sys.argv[1]}/{number}", "wb", buffering=0) as file:
            print("room" if file.write(bytes(4096)) == 4096 else "full", flush=True)
    except OSError:
        print("full", flush=True)
"""


@pytest.fixture(params=["what this machine allows", "a limit on files"])
def disk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[SmallDisk]:
    if request.param == "a limit on files":
        yield SmallDisk(tmp_path, is_mounted=False)
        return
    with small_disk(tmp_path / "disk") as made:
        yield made


def test_a_full_disk_refuses_a_writer_until_it_is_emptied(disk: SmallDisk) -> None:
    print(f"the disk is {disk.kind}")
    argv = [sys.executable, "-c", _WRITER, str(disk.folder)]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0) as writer:
        assert writer.stdin is not None
        assert writer.stdout is not None
        writers, said = [psutil.Process(writer.pid)], []
        for change in (None, disk.fill, disk.empty):
            if change is not None:
                change(writers)
            writer.stdin.write(b"\n")
            said.append(writer.stdout.readline().decode().strip())
        writer.stdin.close()
    assert said == ["room", "full", "room"]
    assert disk.records() == 0
