"""One attempt on the network: a request sent, an answer read bit by bit, the connection given back or closed.

The sync and the async form do the same; all that anything means is decided in `core.call`.
Units: bytes; every wait ends with the call's deadline. Raises the errors of the tree, and only those.
"""

import asyncio
import os
import socket
from collections.abc import AsyncGenerator
from contextlib import suppress
from typing import Any

import httpx

from ..core.call import DRAIN_S_MAX, Call
from ..core.deadline import Deadline
from .transport import bounded_by


class Exchange:
    def __init__(self, call: Call[Any], response: httpx.Response) -> None:
        self.call = call
        self.response = response
        self._chunks = response.iter_bytes()
        self._process_id = os.getpid()

    @classmethod
    def begin(cls, http: httpx.Client, call: Call[Any]) -> "Exchange":
        """Sends the request; returns on a 2xx head, raises on anything else."""
        request = http.build_request(**call.request_arguments())
        try:
            with bounded_by(call.deadline):
                response = http.send(request, stream=True, auth=None, follow_redirects=False)
        except httpx.HTTPError as error:
            raise call.failure(error) from error
        exchange = cls(call, response)
        if not response.is_success:
            raise call.refusal(response, exchange.read_all())
        return exchange

    def read(self) -> bytes:
        """The next bytes of the body; empty at its end."""
        try:
            self.call.deadline.check()
            with bounded_by(self.call.deadline):
                return next(self._chunks, b"")
        except httpx.HTTPError as error:
            raise self.call.failure(error, self.response) from error

    def read_all(self) -> bytes:
        """The rest of the body. The connection is given back, or closed where the body did not end well."""
        body = bytearray()
        try:
            while chunk := self.read():
                body += chunk
                if len(body) > self.call.bytes_max(self.response):
                    raise self.call.too_large(self.response)
        finally:
            self.close()
        return bytes(body)

    def finish(self, drain: bool) -> None:
        """Ends a stream whose end was read: a moment for the body's own end, so that the connection serves again."""
        patience = Deadline(min(DRAIN_S_MAX, self.call.deadline.bounded_s(None)))
        with suppress(httpx.HTTPError), bounded_by(patience):
            while drain and not patience.passed() and next(self._chunks, b""):
                pass
        self.close()

    def close(self) -> None:
        with suppress(httpx.HTTPError):
            self.response.close()

    def hang_up(self) -> None:
        """Ends the connection without any lock, as a finalizer must: it may run inside the pool's own locked code."""
        stream = self.response.extensions.get("network_stream")
        connection = stream.get_extra_info("socket") if stream is not None else None
        if connection is not None and os.getpid() == self._process_id:  # a forked child shares it with its parent
            with suppress(OSError):
                socket.socket.shutdown(connection, socket.SHUT_RDWR)


class AsyncExchange:
    def __init__(self, call: Call[Any], response: httpx.Response) -> None:
        self.call = call
        self.response = response
        self._chunks = _chunks(response)

    @classmethod
    async def begin(cls, http: httpx.AsyncClient, call: Call[Any]) -> "AsyncExchange":
        """Sends the request; returns on a 2xx head, raises on anything else."""
        request = http.build_request(**call.request_arguments())
        try:
            async with asyncio.timeout(call.deadline.left_s()):
                response = await http.send(request, stream=True, auth=None, follow_redirects=False)
        except (httpx.HTTPError, TimeoutError) as error:
            raise call.failure(error) from error
        exchange = cls(call, response)
        if not response.is_success:
            raise call.refusal(response, await exchange.read_all())
        return exchange

    async def read(self) -> bytes:
        """The next bytes of the body; empty at its end."""
        self.call.deadline.check()
        try:
            async with asyncio.timeout(self.call.deadline.left_s()):
                return await anext(self._chunks, b"")
        except (httpx.HTTPError, TimeoutError) as error:
            raise self.call.failure(error, self.response) from error

    async def read_all(self) -> bytes:
        """The rest of the body. The connection is given back, or closed where the body did not end well."""
        body = bytearray()
        try:
            while chunk := await self.read():
                body += chunk
                if len(body) > self.call.bytes_max(self.response):
                    raise self.call.too_large(self.response)
        finally:
            await self.close()
        return bytes(body)

    async def finish(self) -> None:
        """Ends a stream whose end was read: a moment for the body's own end, so that the connection serves again."""
        with suppress(httpx.HTTPError, TimeoutError):
            async with asyncio.timeout(min(DRAIN_S_MAX, self.call.deadline.bounded_s(None))):
                while await anext(self._chunks, b""):
                    pass
        await self.close()

    async def close(self) -> None:
        with suppress(httpx.HTTPError):
            await self.response.aclose()


async def _chunks(response: httpx.Response) -> AsyncGenerator[bytes, None]:
    # A generator of our own: when its last reference goes, the event loop runs this `finally` (PEP 525).
    try:
        async for chunk in response.aiter_bytes():
            yield chunk
    finally:
        await response.aclose()
