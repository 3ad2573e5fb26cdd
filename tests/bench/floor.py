"""The floor: nginx as a bare proxy with keep-alive to upstream, one worker, its configuration in a folder of ours.

Two ports: whole answers are buffered (nginx's default and its best), streams are not, so that each event passes at once.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from gateway.sandbox.server import free_port, is_free
from tests.waiting import wait_until

_START_S, _STOP_S = 10.0, 10.0
_SBIN = "/usr/local/sbin:/usr/sbin"
"""Where it lies for those whose PATH has no such folders."""

_CONFIG = """\
daemon off;
worker_processes 1;
pid {dir}/nginx.pid;
error_log {dir}/error.log warn;
events {{ worker_connections 8192; }}
http {{
  access_log off;
  client_body_temp_path {dir}/body;
  proxy_temp_path {dir}/proxy;
  fastcgi_temp_path {dir}/fastcgi;
  uwsgi_temp_path {dir}/uwsgi;
  scgi_temp_path {dir}/scgi;
  keepalive_requests 1000000000;
  keepalive_timeout 75s;
  upstream mock {{ server {upstream}; keepalive 512; keepalive_requests 1000000000; }}
  proxy_http_version 1.1;
  proxy_set_header Connection "";
  server {{
    listen 127.0.0.1:{whole_port} backlog=2048;
    location / {{ proxy_pass http://mock; }}
  }}
  server {{
    listen 127.0.0.1:{stream_port} backlog=2048;
    location / {{ proxy_pass http://mock; proxy_buffering off; }}
  }}
}}
"""


@dataclass(frozen=True, slots=True)
class Floor:
    """A running nginx."""

    url: str
    stream_url: str
    worker_pid: int
    version: str


@contextmanager
def nginx(upstream: str, work_dir: Path) -> Iterator[Floor | None]:
    """nginx in front of `upstream` (host:port), or None where it is not installed."""
    program = shutil.which("nginx") or shutil.which("nginx", path=_SBIN)
    if program is None:
        yield None
        return
    home = work_dir / "nginx"
    home.mkdir()
    home.chmod(0o711)  # as root, nginx's worker is another user and enters here
    whole_port, stream_port = free_port(), free_port()
    config = home / "nginx.conf"
    config.write_text(
        _CONFIG.format(dir=home, upstream=upstream, whole_port=whole_port, stream_port=stream_port), encoding="utf-8"
    )
    argv = [program, "-p", str(home), "-e", str(home / "error.log"), "-c", str(config)]
    process = subprocess.Popen(argv, start_new_session=True)  # Ctrl-C is for us, who stop it in order
    try:
        wait_until(lambda: not is_free(whole_port) and not is_free(stream_port), _START_S, "nginx listens")
        [worker] = wait_until(lambda: psutil.Process(process.pid).children(), _START_S, "nginx has a worker")
        version = (
            subprocess.run([program, "-v"], capture_output=True, text=True, check=True).stderr.strip().partition("/")[2]
        )
        yield Floor(f"http://127.0.0.1:{whole_port}", f"http://127.0.0.1:{stream_port}", worker.pid, version)
    finally:
        process.terminate()
        try:
            process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(_STOP_S)
