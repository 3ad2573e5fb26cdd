"""The ops port: `/livez`, `/readyz`, `/metrics`. Loopback by default; nothing here is meant for clients."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from litestar import Litestar, Response, get

PLAIN = "text/plain; version=0.0.4; charset=utf-8"


def ops_app(ready: Callable[[], Awaitable[bool]], metrics: Callable[[], bytes]) -> Litestar:
    """`ready` says whether calls can be served now; `metrics` gives Prometheus's text format."""

    @get("/livez", media_type="text/plain")
    async def livez() -> str:
        return "ok"

    @get("/readyz", media_type="text/plain")
    async def readyz() -> Response[str]:
        is_ready = await ready()
        return Response("ok" if is_ready else "not ready", status_code=200 if is_ready else 503)

    @get("/metrics")
    async def exposition() -> Response[bytes]:
        return Response(metrics(), media_type=PLAIN)

    return Litestar(route_handlers=[livez, readyz, exposition], openapi_config=None, logging_config=None)
