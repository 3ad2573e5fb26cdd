"""The composition root: the only file that names every concrete thing.

`House` holds what one process needs; `http_app` puts the doors in front of it. Errors: `SettingsError` where a setting that is needed
is missing.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any
from uuid import UUID

from litestar import Litestar, Router
from litestar.di import Provide
from litestar.openapi import OpenAPIConfig
from litestar.openapi.plugins import ScalarRenderPlugin
from pydantic import SecretStr
from redis.exceptions import RedisError

from billing.database import Sessions, StorageError, answers, open_engine, sessions_of
from billing.exports.accounting import Chart
from billing.ids import uuid7
from billing.ledger.read import settled_calls
from billing.stripe_client import Stripe
from billing.terms import Counters, load_counters
from gateway.admission.admit import Admission, Patience
from gateway.admission.batch import Ticker, shard_of
from gateway.admission.connect import AnyPipe, AnyRedis, open_pipe, open_redis, redis_answers
from gateway.admission.history import HistoryBounds, LedgerSync
from gateway.admission.keep import Keeper, Terms
from gateway.admission.offline import Shares
from gateway.admission.standby import OfflineRules, Standby
from gateway.alerts.refusals import Refusals
from gateway.clock import Clock
from gateway.doors.inference import METERED, inference_routes
from gateway.doors.protocol import protocol_of
from gateway.drain import flushed, unreadable
from gateway.edge.account import ACCOUNT
from gateway.edge.desk import Desk, StripeTerms, desk_of, operators_only
from gateway.edge.faults import EXCEPTION_HANDLERS
from gateway.errors import ServiceUnavailable
from gateway.fleet.listing import to_wire_fleet
from gateway.fleet.losses import Losses
from gateway.fleet.series import FleetSeries
from gateway.journey import Bounds, Journey
from gateway.keys.address import Proxies
from gateway.keys.guesses import Guesses
from gateway.keys.identify import Identify, reader_of_callers
from gateway.keys.prices import PriceTable, reader_of_cards
from gateway.logs import CallLog
from gateway.meter.learned import PromptRatios
from gateway.metrics import CallCounts
from gateway.office.operator_routes import OPERATOR_ROUTES
from gateway.office.shares import OWN_SHARES
from gateway.office.stripe import stripe_webhook
from gateway.outlet.opening import open_solar
from gateway.repeat import Repeats
from gateway.replay.notes import Notes
from gateway.replay.shelf import Shelf, ShelfBounds
from gateway.settings import Settings, SettingsError
from gateway.spool.journal import Journal
from gateway.traces import Traces
from gateway.trip import Expected
from gateway.upstream.solar import Solar

_PROBE_S = 1.0
_GUESSES_SHARD = 0
"""One shard counts guesses, of all accounts' keys: nobody knows yet whose they are."""


@dataclass(frozen=True, slots=True)
class House:
    """The rooms of one process."""

    settings: Settings
    clock: Clock
    sessions: Sessions
    redis: AnyRedis
    ticker: Ticker
    admission: Admission
    standby: Standby
    keeper: Keeper
    identify: Identify
    prices: PriceTable
    solar: Solar
    call_log: CallLog
    counts: CallCounts
    shelf: Shelf
    refusals: Refusals
    losses: Losses

    async def stores_answer(self) -> bool:
        """Do Redis and Postgres answer, within a second?"""
        try:
            async with asyncio.timeout(_PROBE_S):
                return await redis_answers(self.redis) and await answers(self.sessions)
        except (RedisError, OSError, TimeoutError):
            return False


@asynccontextmanager
async def open_house(settings: Settings) -> AsyncIterator[House]:
    """Everything a process needs, closed again at the end."""
    if settings.database_url is None or settings.redis_url is None:
        raise SettingsError(
            "GATEWAY_DATABASE_URL and GATEWAY_REDIS_URL are needed; or start with --sandbox, which brings its own"
        )
    clock = Clock(settings.clock_offset_ns)
    engine = open_engine(settings.database_url.get_secret_value(), connections_max=settings.database_connections_max)
    sessions = sessions_of(engine)
    redis_url = settings.redis_url.get_secret_value()
    redis = open_redis(redis_url, timeout_s=settings.redis_timeout_s, connections_max=settings.redis_connections_max)
    waiting_max = settings.redis_waiting_max
    pipe = open_pipe(redis_url, timeout_s=settings.redis_circuit_ms / 1000, waiting_max=waiting_max)
    # A connection of their own: a kept answer of megabytes must not stand in the way of an admission.
    answers_pipe = open_pipe(redis_url, timeout_s=settings.redis_timeout_s, waiting_max=waiting_max)
    ticker = Ticker(pipe, batch_max=settings.script_batch_max, stream_max=settings.usage_stream_max)
    ledger = LedgerSync(ticker, partial(_read_counters, sessions), shards=settings.shards)
    journal = Journal(settings.data_dir / "spool", max_bytes=settings.journal_max_bytes)
    standby = _open_standby(settings, ticker, journal, ledger, sessions)
    keeper = _open_keeper(settings, ticker)
    standby.history.open_holds = keeper.registrations
    notes = _open_notes(settings)
    shelf = _open_shelf(settings, answers_pipe, notes, lambda: standby.history.live_workers)
    standby.history.others, standby.history.confirmed = shelf.tell_again, shelf.confirmed
    standby.open_calls, keeper.grow = keeper.open_calls, standby.grow
    house = House(
        settings=settings,
        clock=clock,
        sessions=sessions,
        redis=redis,
        ticker=ticker,
        admission=_open_admission(settings, ticker, ledger, standby),
        standby=standby,
        keeper=keeper,
        identify=_open_identify(settings, ticker, sessions, clock),
        prices=PriceTable(reader_of_cards(sessions)),
        solar=open_solar(settings),
        call_log=CallLog(),
        counts=CallCounts(keeper.held),
        shelf=shelf,
        refusals=Refusals(sessions, clock),
        losses=Losses(sessions, clock),
    )
    house.counts.also.append(FleetSeries(house.solar.fleet).flush)
    house.solar.fleet.sharers = lambda: standby.history.live_workers or 1
    try:
        yield house
    finally:
        await house.solar.close()
        house.call_log.flush()
        house.counts.flush()
        await house.refusals.close()
        await house.losses.close()
        await ticker.close()
        await journal.close()
        await answers_pipe.close()
        if notes is not None:
            notes.close()
        await redis.aclose()
        await engine.dispose()


def open_journey(house: House, traces: Traces | None = None) -> Journey:
    """The way of a call through the rooms of this house; with spans of it, where they are asked for."""
    settings = house.settings
    return Journey(
        house.clock,
        house.identify,
        house.prices,
        house.admission,
        house.keeper,
        house.solar,
        Bounds(
            answer_buffer_bytes=settings.answer_buffer_bytes,
            sse_event_max_bytes=settings.sse_event_max_bytes,
            expected=Expected(settings.expected_output_tokens, settings.stream_slice_tokens),
            total_timeout_s=settings.total_timeout_s,
            hang_up_cancels=settings.hang_up == "cancel",
        ),
        house.call_log,
        house.counts,
        Repeats(
            house.shelf,
            partial(shard_of, shards=settings.shards),
            answer_max_bytes=settings.idempotency_answer_max_bytes,
            memory_max_bytes=settings.idempotency_memory_max_bytes,
        ),
        house.refusals,
        house.losses,
        traces,
    )


def fast_door(house: House, journey: Journey) -> type[asyncio.Protocol] | str:
    """What uvicorn takes as its `http`: the protocol class that takes inference calls off, or its own."""
    if house.settings.door == "asgi":
        return "httptools"
    settings = house.settings
    return protocol_of(journey, METERED, settings.request_body_max_bytes, Proxies(settings.trusted_proxies))


def http_app(house: House, journey: Journey) -> Litestar:
    """The doors behind ASGI: inference, the caller's own view, and the operator's desk."""
    settings = house.settings
    token = "" if settings.operator_token is None else settings.operator_token.get_secret_value()
    proxies = Proxies(settings.trusted_proxies)
    desk = Desk(
        sessions=house.sessions,
        clock=house.clock,
        identify=house.identify,
        prices=house.prices,
        admission=house.admission,
        flushed=partial(flushed, house.redis, settings.shards, wait_s=settings.usage_wait_s),
        fleet=partial(to_wire_fleet, house.solar.fleet),
        unreadable=partial(unreadable, house.redis, settings.shards),
        grant_months=settings.grant_months,
        month_grace_s=settings.month_grace_s,
        ledger_keep_months=settings.ledger_keep_months,
        retention_years=settings.retention_years,
        seller=_seller(settings),
        chart=Chart(settings.chart_receivable, settings.chart_revenue, settings.chart_tax),
        proxies=proxies,
        stripe=_stripe(settings),
    )
    operator = Router(
        "/operator/v1",
        route_handlers=OPERATOR_ROUTES,
        guards=[operators_only(token, house.sessions, house.clock)],
        dependencies={"desk": Provide(desk_of(desk), sync_to_thread=False)},
    )
    return Litestar(
        route_handlers=[
            *inference_routes(journey, settings.request_body_max_bytes, proxies),
            *ACCOUNT,
            *OWN_SHARES,
            stripe_webhook,
            operator,
        ],
        dependencies={"desk": Provide(lambda: desk, sync_to_thread=False)},
        exception_handlers=EXCEPTION_HANDLERS,
        openapi_config=OpenAPIConfig(
            title="SOLAR gateway", version="1", path="/schema", render_plugins=[ScalarRenderPlugin(path="/")]
        ),
        request_max_body_size=settings.request_body_max_bytes,
        logging_config=None,
    )


def _seller(settings: Settings) -> dict[str, str]:
    """Who issues invoices, as the settings say."""
    return {name.removeprefix("seller_"): str(value) for name, value in settings if name.startswith("seller_")}


def open_stripe(settings: Settings, api_key: SecretStr) -> Stripe:
    """A client of Stripe's API."""
    return Stripe(
        api_key.get_secret_value(),
        base_url=settings.stripe_url,
        timeout_ms=settings.stripe_timeout_ms,
        attempts=settings.stripe_attempts,
    )


def _stripe(settings: Settings) -> StripeTerms:
    """What the routes know of Stripe."""
    secret, key = settings.stripe_webhook_secret, settings.stripe_api_key
    return StripeTerms(
        "" if secret is None else secret.get_secret_value(),
        settings.stripe_webhook_age_s,
        settings.stripe_webhook_max_bytes,
        settings.stripe_meter_event,
        None if key is None else partial(open_stripe, settings, key),
    )


def _open_keeper(settings: Settings, ticker: Ticker) -> Keeper:
    terms = Terms(
        lease_s=settings.hold_lease_s,
        sent_mark_s=settings.hold_sent_mark_s,
        progress_s=settings.progress_s,
        progress_tokens_max=settings.progress_tokens_max,
        slice_tokens=settings.stream_slice_tokens,
        extend_wait_s=settings.stream_extend_wait_s,
    )
    return Keeper(ticker, terms, shards=settings.shards)


async def _read_counters(sessions: Sessions, account_id: str) -> Counters | None:
    try:
        async with sessions() as session:
            return await load_counters(session, account_id)
    except (StorageError, OSError):
        raise ServiceUnavailable from None


def _open_admission(settings: Settings, ticker: Ticker, ledger: LedgerSync, standby: Standby) -> Admission:
    return Admission(
        ticker,
        ledger,
        standby,
        PromptRatios(entries_max=settings.prompt_ratios_max),
        Patience(wait_s=settings.budget_wait_s, waiting_max=settings.budget_waiting_max),
        shards=settings.shards,
        hold_s=settings.hold_lease_s,
        settle_retry_s=settings.settle_retry_s,
        settled_memory_s=settings.settled_memory_s,
        owed_max=settings.recent_records_max,
    )


def _open_identify(settings: Settings, ticker: Ticker, sessions: Sessions, clock: Clock) -> Identify:
    guesses = Guesses(
        burst=settings.unknown_keys_burst,
        per_minute=settings.unknown_keys_per_minute,
        addresses_max=settings.unknown_keys_addresses_max,
        shared=partial(ticker.ask, _GUESSES_SHARD),
    )
    return Identify(
        reader_of_callers(sessions, clock),
        clock,
        entries_max=settings.key_cache_max,
        fresh_s=settings.key_cache_s,
        guesses=guesses,
    )


def _open_standby(
    settings: Settings, ticker: Ticker, journal: Journal, ledger: LedgerSync, sessions: Sessions
) -> Standby:
    share_nano_usd = int(settings.offline_exposure_usd * 10**9) // settings.offline_workers_max
    shares = Shares(share_nano_usd, scopes_max=settings.key_cache_max)
    return Standby(
        ticker,
        journal,
        shares,
        ledger,
        partial(_settled_calls, sessions),
        shards=settings.shards,
        rules=OfflineRules(
            workers_max=settings.offline_workers_max,
            unconfirmed_keys_s=settings.offline_keys_s if settings.offline_keys == "allow" else 0.0,
        ),
        bounds=HistoryBounds(rebuild_s=settings.rebuild_wait_s, records_max=settings.recent_records_max),
        rates_max=settings.key_cache_max,
    )


async def _settled_calls(sessions: Sessions, call_ids: Sequence[str]) -> set[str]:
    try:
        async with sessions() as session:
            known = await settled_calls(session, [UUID(hex=call_id) for call_id in call_ids])
    except (StorageError, OSError, TimeoutError):
        raise ServiceUnavailable from None
    return {call_id.hex for call_id in known}


def _open_notes(settings: Settings) -> Notes | None:
    """Where nothing goes on without Redis, nothing is noted."""
    if settings.offline_exposure_usd == 0:
        return None
    return Notes(
        settings.data_dir / "keys",
        worker=uuid7(time.time_ns() // 1_000_000).hex,
        keep_s=settings.idempotency_keep_s,
        rows_max=settings.idempotency_notes_max,
    )


def _open_shelf(settings: Settings, pipe: AnyPipe, notes: Notes | None, live_workers: Callable[[], int]) -> Shelf:
    def ask(shard: int, *command: bytes | str | int) -> asyncio.Future[Any]:
        return pipe.ask(*command)

    bounds = ShelfBounds(
        shards=settings.shards,
        keep_s=settings.idempotency_keep_s,
        replay_s=settings.idempotency_replay_s,
        lease_s=settings.idempotency_lease_s,
        total_max_bytes=settings.idempotency_total_max_bytes,
        claims_max=settings.idempotency_claims_max,
        serve_unknown=settings.offline_repeats == "allow",
    )
    return Shelf(ask, bounds, notes, live_workers)
