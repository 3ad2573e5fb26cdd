"""One call to Solar, one answer: an attempt with the key whose turn it is, and, where that brought nothing, what `retry.py` makes of it.

Units: seconds.
Errors: `UpstreamUnavailable` where no answer came, `RateLimited` where our own quota is used up; later `UpstreamInterrupted`, where an
answer breaks off.
"""

from __future__ import annotations

from collections.abc import Callable

import httpx

from gateway.fleet.errand import Errand
from gateway.fleet.fleet import Fleet
from gateway.fleet.member import Seat
from gateway.upstream.exchange import Exchange
from gateway.upstream.faults import looks_ill
from gateway.upstream.line import Line, Parcel, Patience
from gateway.upstream.reply import UpstreamAnswer, WholeAnswer
from gateway.upstream.retry import Again, NotServed, RetryRules, failure_of, refusal_of
from gateway.upstream.transport import PooledTransport


class Solar:
    """Upstage's API behind a fleet of our keys."""

    def __init__(
        self, transport: httpx.AsyncBaseTransport, fleet: Fleet, patience: Patience, rules: RetryRules
    ) -> None:
        self.fleet = fleet
        self._transport = transport
        self._lines = [Line(transport, member.key, patience) for member in fleet.members]
        # Our own transport watches for silence itself.
        self._idle_timeout_s = None if isinstance(transport, PooledTransport) else patience.idle_s
        self._again = Again(self._attempt, fleet, rules)

    async def send(
        self,
        path: str,
        body: bytes,
        content_type: str,
        errand: Errand | None = None,
        on_sent: Callable[[], None] | None = None,
    ) -> UpstreamAnswer:
        """POST a body; returns when the headers of an answer are there that is not a refusal of ours.

        What became of attempts that brought none stands in the errand.
        """
        errand = errand or Errand("", "", 0)
        parcel = Parcel(path, body, content_type, on_sent, errand.trace)
        seat = self.fleet.seat(errand)
        failure = None
        if seat is not None:
            line = self._lines[seat.member.place]
            try:
                exchange = line.at_once(parcel)
            except httpx.LocalProtocolError as error:
                raise failure_of(error, seat, errand) from None
            if exchange is not None:
                if on_sent is not None:
                    on_sent()
                try:
                    await line.heard(exchange)
                except BaseException:
                    exchange.give_up()
                    self._given_up(seat, errand)
                    raise
                if exchange.whole is not None:
                    answer = WholeAnswer(*exchange.whole, seat, errand.attempts)
                    seat.served(answer.all_headers)
                    return answer
            try:
                return await self._attempt(seat, parcel, errand, exchange)
            except NotServed as not_served:
                failure = not_served
        return await self._again.send(parcel, errand, failure)

    async def _attempt(
        self, seat: Seat, parcel: Parcel, errand: Errand, begun: Exchange | None = None
    ) -> UpstreamAnswer:
        """One attempt with one key. Raises `NotServed` where another may follow, `UpstreamUnavailable` where none may."""
        try:
            status, headers, stream = await self._lines[seat.member.place].post(parcel, begun)
        except (httpx.TransportError, OSError) as error:  # TimeoutError is one
            raise failure_of(error, seat, errand) from None
        except BaseException:
            self._given_up(seat, errand)
            raise
        if parcel.on_sent is not None:
            parcel.on_sent()
        answer = UpstreamAnswer(
            status, headers, stream, seat, idle_timeout_s=self._idle_timeout_s, attempts=errand.attempts
        )
        if looks_ill(status):
            raise await refusal_of(answer, seat, errand)
        seat.served(answer.all_headers)
        return answer

    def _given_up(self, seat: Seat, errand: Errand) -> None:
        """The caller's time was up, or this worker stops."""
        errand.lose(seat.key_name, "given up while it was under way")
        seat.given_up()

    async def close(self) -> None:
        self.fleet.turns.close()
        await self._transport.aclose()
