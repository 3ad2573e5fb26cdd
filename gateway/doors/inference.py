"""The metered endpoints, as ordinary Litestar ASGI routes. A path that is not in this table is a 404: nothing passes without a price."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from litestar import asgi
from litestar.handlers import ASGIRouteHandler

from gateway.doors.asgi import AsgiDoor
from gateway.journey import Journey
from gateway.keys.address import Proxies
from gateway.meter.endpoint import ENDPOINTS, Endpoint

if TYPE_CHECKING:
    from litestar.types import Receive, Scope, Send

METERED: Mapping[str, Endpoint] = {
    f"{base}{endpoint.upstream_path}": endpoint for base in ("/v1", "/v1/solar") for endpoint in ENDPOINTS
}


def inference_routes(journey: Journey, body_max_bytes: int, proxies: Proxies) -> list[ASGIRouteHandler]:
    """One route a path; each opens a door and lets the journey carry the call through."""
    return [_route(path, endpoint, journey, body_max_bytes, proxies) for path, endpoint in METERED.items()]


def _route(path: str, endpoint: Endpoint, journey: Journey, body_max_bytes: int, proxies: Proxies) -> ASGIRouteHandler:
    @asgi(path, copy_scope=False)
    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        if scope.get("method") != "POST":
            await _refuse_method(send)
            return
        peer, headers = scope.get("client"), list(scope["headers"])
        door = AsgiDoor(endpoint, headers, receive, send, body_max_bytes, peer[0] if peer else None, proxies)
        await journey.carry(door)

    return answer


async def _refuse_method(send: Send) -> None:
    headers = [(b"allow", b"POST"), (b"content-type", b"application/json"), (b"content-length", b"%d" % len(_NOT_POST))]
    await send({"type": "http.response.start", "status": 405, "headers": headers})
    await send({"type": "http.response.body", "body": _NOT_POST, "more_body": False})


_NOT_POST = (
    b'{"error":{"message":"Use POST here.","type":"invalid_request_error","param":null,"code":"method_not_allowed"}}'
)
