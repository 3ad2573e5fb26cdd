"""How a client sends: an operation through all its attempts, whole or as a stream. Everything that is decided is in `core`.

Raises the errors of the tree. The sync form serves many threads; the async form belongs to one event loop.
"""

from collections import deque
from typing import Any, TypeVar

import httpx
from tenacity import AsyncRetrying, Retrying

from ..core.call import Call
from ..core.operations import Operation
from ..core.settings import Settings
from ..errors import ConfigurationError, SolarError
from .exchange import AsyncExchange, Exchange
from .streams import AsyncStream, Stream

_T = TypeVar("_T")


class Sending:
    """The connections of a sync client."""

    def __init__(self, settings: Settings, http: httpx.Client, *, owned: bool, exact: bool) -> None:
        self._settings = settings
        self._http = http
        self._owned = owned
        self._exact = exact
        self._abandoned: deque[Exchange] = deque()

    def whole(self, operation: Operation[_T]) -> _T:
        call = Call(self._settings, operation)
        try:
            result: _T = Retrying(**call.retry_options())(self._attempt_whole, call)
        except BaseException as error:
            call.over(error)
            raise
        call.over()
        return result

    def stream(self, operation: Operation[_T]) -> Stream[_T]:
        call = Call(self._settings, operation)
        try:
            return Retrying(**call.retry_options())(self._attempt_stream, call)
        except BaseException as error:
            call.over(error)
            raise

    def close(self) -> None:
        self._reap()
        if self._owned:
            self._http.close()

    def _attempt_whole(self, call: Call[_T]) -> _T:
        exchange = self._begin(call)
        return call.answer(exchange.response, exchange.read_all())

    def _attempt_stream(self, call: Call[_T]) -> Stream[_T]:
        exchange = self._begin(call)
        try:
            first = exchange.read()
            if not first:
                raise call.cut_before_first_byte(exchange.response)
        except SolarError:
            exchange.close()
            raise
        return Stream(exchange, first, self._abandoned, drain=self._exact)

    def _begin(self, call: Call[Any]) -> Exchange:
        if self._http.is_closed:
            raise ConfigurationError("This client is closed.", code="client_closed")
        self._reap()
        return Exchange.begin(self._http, call)

    def _reap(self) -> None:
        while self._abandoned:
            self._abandoned.popleft().close()


class AsyncSending:
    """The connections of an async client."""

    def __init__(self, settings: Settings, http: httpx.AsyncClient, *, owned: bool) -> None:
        self._settings = settings
        self._http = http
        self._owned = owned

    async def whole(self, operation: Operation[_T]) -> _T:
        call = Call(self._settings, operation)
        try:
            result: _T = await AsyncRetrying(**call.retry_options())(self._attempt_whole, call)
        except BaseException as error:
            call.over(error)
            raise
        call.over()
        return result

    async def stream(self, operation: Operation[_T]) -> AsyncStream[_T]:
        call = Call(self._settings, operation)
        try:
            return await AsyncRetrying(**call.retry_options())(self._attempt_stream, call)
        except BaseException as error:
            call.over(error)
            raise

    async def close(self) -> None:
        if self._owned:
            await self._http.aclose()

    async def _attempt_whole(self, call: Call[_T]) -> _T:
        exchange = await self._begin(call)
        return call.answer(exchange.response, await exchange.read_all())

    async def _attempt_stream(self, call: Call[_T]) -> AsyncStream[_T]:
        exchange = await self._begin(call)
        try:
            first = await exchange.read()
            if not first:
                raise call.cut_before_first_byte(exchange.response)
        except SolarError:
            await exchange.close()
            raise
        return AsyncStream(exchange, first)

    async def _begin(self, call: Call[Any]) -> AsyncExchange:
        if self._http.is_closed:
            raise ConfigurationError("This client is closed.", code="client_closed")
        return await AsyncExchange.begin(self._http, call)
