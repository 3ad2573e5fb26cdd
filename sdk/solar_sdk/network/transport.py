"""The sync client's way to the network: httpx's own transport, in which no single wait outlasts the running deadline.

Why: httpx takes a timeout for each read, so a server that sends a byte now and then keeps a call for ever (and asyncio's
cancellation, which ends the async client's waits, has no sync twin). Here every connect, handshake, read and write is
cut to what is left. Seam: `_network_backend` of httpcore's pool (httpcore 1.0.9, httpx 0.28.1, read 2026-11-24); the
tests on trickled headers and bodies fail should it move. Resolving a host name is the one wait that cannot be cut.
Units: seconds. Raises httpx's transport errors.
"""

import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from typing import Any
from urllib.request import getproxies, proxy_bypass

import httpx

from ..core.deadline import Deadline

LIMITS = httpx.Limits(max_connections=1_000, max_keepalive_connections=100, keepalive_expiry=4.0)
WRITE_BYTES = 65_536  # one write waits at most once a slice

_running: ContextVar[Deadline | None] = ContextVar("solar_sdk_running_deadline", default=None)


@contextmanager
def bounded_by(deadline: Deadline) -> Iterator[None]:
    """Cuts every wait of this thread's network calls inside the block."""
    token = _running.set(deadline)
    try:
        yield
    finally:
        _running.reset(token)


class DeadlineTransport(httpx.HTTPTransport):
    def __init__(self, base_url: str) -> None:
        super().__init__(verify=tls(), limits=LIMITS, proxy=environment_proxy(base_url, getproxies()))
        pool: Any = self._pool
        pool._network_backend = _Backend(pool._network_backend)


@cache
def tls() -> ssl.SSLContext:
    """httpx's own TLS settings, read once a process: the world's certificates take tens of milliseconds to load."""
    return httpx.create_ssl_context()


def environment_proxy(base_url: str, proxies: Mapping[str, str]) -> str | None:
    """The proxy that HTTPS_PROXY, HTTP_PROXY, ALL_PROXY and NO_PROXY name for this one address."""
    url = httpx.URL(base_url)
    proxy = proxies.get(url.scheme) or proxies.get("all")
    if not proxy or proxy_bypass(url.host):
        return None
    return proxy if "://" in proxy else f"http://{proxy}"


def _cut(wait_s: float | None) -> float | None:
    deadline = _running.get()
    return wait_s if deadline is None else deadline.bounded_s(wait_s)


class _Backend:
    """httpcore's network backend, its connections wrapped."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner

    def connect_tcp(self, *args: Any, timeout: float | None = None, **kwargs: Any) -> "_Stream":
        return _Stream(self._inner.connect_tcp(*args, timeout=_cut(timeout), **kwargs))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


class _Stream:
    """httpcore's network stream, its waits cut."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        data: bytes = self._inner.read(max_bytes, timeout=_cut(timeout))
        return data

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        for start in range(0, len(buffer), WRITE_BYTES):
            self._inner.write(buffer[start : start + WRITE_BYTES], timeout=_cut(timeout))

    def start_tls(self, *args: Any, timeout: float | None = None, **kwargs: Any) -> "_Stream":
        return _Stream(self._inner.start_tls(*args, timeout=_cut(timeout), **kwargs))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)
