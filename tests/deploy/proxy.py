"""nginx itself in front of the running stack, with deploy/nginx.conf, where its binary is on the PATH (`.ci/run` gets Debian's)."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from gateway.sandbox.server import free_port
from tests.deploy.files import DEPLOY
from tests.waiting import wait_until


def nginx() -> str | None:
    """The binary, if it is here."""
    return shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")


@asynccontextmanager
async def nginx_before(binary: str, gateway_ports: Sequence[int], home: Path) -> AsyncIterator[str]:
    """Our configuration but for addresses and folders; gives the URL that it listens on."""
    port, text = free_port(), (DEPLOY / "nginx.conf").read_text()
    assert text.count("/tmp/") == 6  # noqa: S108 - of the configuration
    text = text.replace("/tmp/", f"{home}/").replace("listen 8080;", f"listen 127.0.0.1:{port};")  # noqa: S108
    for name, gateway_port in zip(("gateway-a", "gateway-b"), gateway_ports, strict=True):
        text, count = re.subn(rf"\b{name}:8080\b", f"127.0.0.1:{gateway_port}", text)
        assert count == 1
    config = home / "nginx.conf"
    config.write_text(text)
    user = "user root; " if os.geteuid() == 0 else ""  # else its worker is somebody who may not enter our folder
    command = [binary, "-e", "stderr", "-p", str(home), "-c", str(config), "-g", f"{user}daemon off;"]
    process = await asyncio.create_subprocess_exec(*command)
    try:
        await asyncio.to_thread(wait_until, lambda: _listens(port), 20, "nginx takes connections")
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        await process.wait()


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
