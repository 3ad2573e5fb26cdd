"""Every setting, typed, with its unit and its bound. Environment variables `GATEWAY_…` (design.md section 2).

A value may also lie in a file of `GATEWAY_SECRETS_DIR` that has the variable's name (`gateway_database_url`), as Docker and Kubernetes
mount secrets; the environment comes first. Rooms never see this class: `app.py` hands each the plain values it needs.
Errors: `SettingsError`, one clear line, where a value is wrong.
"""

from __future__ import annotations

import os
from datetime import datetime
from decimal import Decimal
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import (
    AfterValidator,
    AliasChoices,
    BeforeValidator,
    Field,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from gateway.roster.keys import WEIGHT_MAX, UpstreamKey, read_roster

MIB = 1024 * 1024
_CLUSTER_SHARDS = 64
_STRIPES_OWN = ("STRIPE_API_KEY", "STRIPE_WEBHOOK_SECRET")
"""Named as everybody names them, without our prefix."""


class SettingsError(ValueError):
    """A setting has a value that it cannot have."""


def _aware(instant: datetime) -> datetime:
    if instant.tzinfo is None:
        raise ValueError("needs a zone, such as 2026-10-31T14:59:00Z")
    return instant


def _networks(text: object) -> object:
    if not isinstance(text, str):
        return text
    return tuple(ip_network(part.strip()) for part in text.split(",") if part.strip())


def _weights(text: object) -> object:
    if not isinstance(text, str):
        return text
    weights: dict[str, int] = {}
    for part in filter(None, map(str.strip, text.split(","))):
        account_id, _, weight = part.rpartition("=")
        if not account_id or not weight.isascii() or not weight.isdigit() or not 1 <= int(weight) <= WEIGHT_MAX:
            raise ValueError(f"needs ACCOUNT=WEIGHT with weights from 1 to {WEIGHT_MAX}")
        weights[account_id.strip()] = int(weight)
    return weights


class Settings(BaseSettings):
    """What the environment says. Times end in `_s` or `_ms`, sizes in `_bytes`, counts in `_max`."""

    model_config = SettingsConfigDict(env_prefix="GATEWAY_", env_ignore_empty=True, extra="ignore")

    # ---- the world around us
    database_url: SecretStr | None = None
    redis_url: SecretStr | None = None
    upstream_url: str = "https://api.upstage.ai/v1"
    upstream_keys: Annotated[SecretStr, NoDecode] = Field(
        default=SecretStr(""),
        description="[NAME[*WEIGHT]=]SECRET[@BASE_ADDRESS], comma separated (roster/keys.py); without any, UPSTAGE_API_KEY",
    )
    upstage_api_key: SecretStr = Field(default=SecretStr(""), validation_alias="UPSTAGE_API_KEY")
    operator_token: SecretStr | None = None
    data_dir: Path = Path(".solar")
    ops_port: int = Field(default=9464, ge=0, le=65535)
    ops_host: str = "127.0.0.1"
    trusted_proxies: Annotated[tuple[IPv4Network | IPv6Network, ...], NoDecode, BeforeValidator(_networks)] = Field(
        default=(), description="CIDRs, comma separated: whose X-Forwarded-For says where a caller calls from"
    )

    # ---- sandbox
    sandbox_clock: Annotated[datetime, AfterValidator(_aware)] | None = None
    clock_offset_ns: int = Field(
        default=0, description="set by our own supervisor, so that all processes share one clock"
    )

    # ---- bounds of a call
    door: Literal["protocol", "asgi"] = Field(
        default="protocol", description="where inference calls are taken off: before ASGI, or on an ordinary route"
    )
    request_body_max_bytes: int = Field(default=16 * MIB, ge=1024, le=512 * MIB)
    answer_buffer_bytes: int = Field(default=32 * MIB, ge=1024, le=512 * MIB)
    sse_event_max_bytes: int = Field(default=4 * MIB, ge=1024, le=64 * MIB)
    connect_timeout_s: float = Field(
        default=5.0, gt=0, le=60, description="a packet lost twice still gets through; a dead host holds nobody up"
    )
    first_byte_timeout_s: float = Field(
        default=300.0, gt=0, le=3600, description="reasoning models think long before a word"
    )
    idle_timeout_s: float = Field(
        default=180.0, gt=0, le=3600, description="silence inside a stream: reasoning models pause"
    )
    total_timeout_s: float = Field(
        default=900.0, gt=0, le=7200, description="one deadline for a call, with all its waiting and all its attempts"
    )
    hang_up: Literal["cancel", "finish"] = Field(
        default="cancel",
        description="what becomes of a stream whose client is gone: upstream is cut off, or read to its end",
    )
    upstream_connections_max: int = Field(default=1024, ge=1, le=65536)
    upstream_waiting_max: int = Field(default=1024, ge=0, le=65536, description="calls that wait for a connection")
    upstream_idle_expiry_s: float = Field(default=30.0, gt=0, le=600)
    upstream_transport: Literal["pooled", "httpx"] = Field(default="pooled", description="ours, or httpx's own")

    # ---- upstream's keys: what is tried again, what waits
    upstream_attempts_max: int = Field(
        default=3, ge=1, le=10, description="attempts of a call, and one more for each further key (upstream/retry.py)"
    )
    upstream_resend_lost: bool = Field(
        default=True,
        description="a call whose connection broke before its answer goes once to another key, though both may be billed",
    )
    upstream_failures_max: int = Field(default=5, ge=1, le=1000, description="failures in a row that take a key out")
    upstream_pause_s: float = Field(default=1.0, gt=0, le=60, description="before a key that failed is tried again …")
    upstream_pause_max_s: float = Field(default=30.0, gt=0, le=3600, description="… doubling up to this")
    upstream_refused_pause_s: float = Field(
        default=30.0, gt=0, le=3600, description="the same for a key that upstream refuses: a human must act first"
    )
    upstream_refused_pause_max_s: float = Field(default=600.0, gt=0, le=86_400)
    upstream_wait_s: float = Field(
        default=5.0, gt=0, le=300, description="how long a call waits for upstream's quota; then 429 with the truth"
    )
    upstream_queue_max: int = Field(default=1024, ge=0, le=65536, description="calls that wait so, for each model …")
    upstream_queue_account_max: int = Field(default=64, ge=1, le=65536, description="… and of one account")
    upstream_queue_weights: Annotated[dict[str, int], NoDecode, BeforeValidator(_weights)] = Field(
        default_factory=dict, description="ACCOUNT=WEIGHT, comma separated: shares of that queue, 1 unless named"
    )

    # ---- limits and budgets
    expected_output_tokens: int = Field(default=1024, ge=1, le=1_000_000)
    stream_slice_tokens: int = Field(
        default=2048, ge=1, le=1_000_000, description="output held at a time for a stream without a bound"
    )
    stream_extend_wait_s: float = Field(
        default=2.0, gt=0, le=30, description="how long a stream whose slice is used up waits for the next"
    )
    budget_wait_s: float = Field(
        default=1.0,
        ge=0,
        le=8,
        description="how long a call that a budget does not cover waits where open holds may make room; 0: not",
    )
    budget_waiting_max: int = Field(default=1000, ge=0, le=1_000_000, description="so many calls of a worker at once")
    prompt_ratios_max: int = Field(
        default=10_000, ge=1, le=10_000_000, description="account and model pairs whose tokens per byte are known"
    )
    hold_lease_s: float = Field(default=30.0, ge=1, le=3600, description="a hold not renewed for so long is an orphan")
    hold_sent_mark_s: float = Field(
        default=0.1,
        gt=0,
        le=10,
        description="how long a call may wait for a connection before it is marked as not sent",
    )
    progress_s: float = Field(default=1.0, gt=0, le=10, description="how often the progress of a stream is written")
    progress_tokens_max: int = Field(default=64, ge=1, le=100_000, description="… or after so many output tokens")
    swept_memory_s: int = Field(
        default=7200, ge=60, le=864_000, description="how long a swept call's own settlement may come late"
    )
    grant_months: int = Field(default=12, ge=1, le=120)
    redis_timeout_s: float = Field(
        default=2.0, gt=0, le=30, description="for everything but calls: the drain, the office"
    )
    redis_circuit_ms: int = Field(
        default=250, ge=20, le=5000, description="a shard that does not answer a call within this is away"
    )
    offline_exposure_usd: Decimal = Field(
        default=Decimal(0),
        ge=0,
        le=1_000_000,
        description="what an account may cost at most while Redis is away; 0: nothing",
    )
    offline_workers_max: int = Field(
        default=16, ge=1, le=1024, description="how many workers share that exposure, over all machines"
    )
    offline_keys: Literal["refuse", "allow"] = Field(
        default="refuse",
        description="keys that Postgres cannot confirm either, while Redis is away: 1 s, or offline_keys_s",
    )
    offline_keys_s: float = Field(default=600.0, ge=0, le=86_400)
    offline_repeats: Literal["refuse", "allow"] = Field(
        default="refuse",
        description="calls with an Idempotency-Key, while Redis is away, whose key another machine may know: allow may serve twice",
    )
    rebuild_wait_s: float = Field(
        default=2.0,
        gt=0,
        le=8,
        description="how long calls under a cap wait, after a failover, for live workers to register",
    )
    recent_records_max: int = Field(
        default=20_000,
        ge=64,
        le=1_000_000,
        description="settlements that a worker can tell again, until they are drained",
    )
    journal_max_bytes: int = Field(
        default=256 * MIB, ge=2 * MIB, le=64 * 1024 * MIB, description="what a worker keeps on its disk at most"
    )
    redis_connections_max: int = Field(default=64, ge=4, le=1024)
    redis_waiting_max: int = Field(default=4096, ge=1, le=1_000_000, description="script calls under way at once")
    script_batch_max: int = Field(default=128, ge=1, le=4096)
    settle_retry_s: float = Field(default=10.0, gt=0, le=60)
    settled_memory_s: int = Field(default=60, ge=1, le=3600)
    key_cache_max: int = Field(default=10_000, ge=1, le=10_000_000)
    key_cache_s: float = Field(default=0.9, gt=0, le=1, description="revocation is seen at the latest after this")
    unknown_keys_burst: int = Field(
        default=50, ge=1, le=1_000_000, description="unknown keys that one address may show at once; then 429"
    )
    unknown_keys_per_minute: int = Field(default=60, ge=1, le=1_000_000, description="how fast that fills up again")
    unknown_keys_addresses_max: int = Field(default=10_000, ge=1, le=10_000_000)
    shards: int = Field(
        default=0,
        ge=0,
        le=1024,
        description="0 takes 64 on a cluster, 1 on a single Redis; fixed for a deployment's life",
    )

    # ---- calls with an Idempotency-Key
    idempotency_keep_s: int = Field(default=86_400, ge=60, le=604_800, description="a key is remembered this long")
    idempotency_replay_s: float = Field(default=120.0, gt=0, le=86_400, description="and its sealed answer this long")
    idempotency_lease_s: float = Field(
        default=10.0, ge=0.5, le=300, description="a dead worker's claim ends after this"
    )
    idempotency_answer_max_bytes: int = Field(
        default=4 * MIB, ge=0, le=64 * MIB, description="longer ones are not kept"
    )
    idempotency_total_max_bytes: int = Field(
        default=256 * MIB, ge=0, le=65536 * MIB, description="kept at once, in Redis"
    )
    idempotency_memory_max_bytes: int = Field(
        default=64 * MIB, ge=0, le=4096 * MIB, description="recorded in a process"
    )
    idempotency_claims_max: int = Field(
        default=10_000_000, ge=1, le=1_000_000_000, description="keys remembered, about 250 bytes of Redis each"
    )
    idempotency_notes_max: int = Field(
        default=1_000_000,
        ge=1,
        le=1_000_000_000,
        description="keys noted on this machine's disk for when Redis is away, about 300 bytes each",
    )

    # ---- ledger
    app_role: str | None = Field(
        default=None,
        pattern="^[a-z_][a-z0-9_]{0,62}$",
        description="for `migrate`: the database role of the gateway, which is given no more than it needs",
    )
    database_connections_max: int = Field(default=8, ge=2, le=200)
    ledger_keep_months: int = Field(
        default=13, ge=2, le=1200, description="newer months of the ledger cannot be detached"
    )
    drain_batch_max: int = Field(default=500, ge=1, le=10_000)
    drain_idle_ms: int = Field(default=20, ge=1, le=5000)
    drain_stop_s: float = Field(
        default=15.0,
        ge=0,
        le=300,
        description="told to stop, the drain goes on for so long; the rest waits on the stream",
    )
    unreadable_max: int = Field(
        default=10_000,
        ge=1,
        le=1_000_000,
        description="records that cannot be read, kept for an operator by each shard",
    )
    usage_stream_max: int = Field(default=1_000_000, ge=1000, le=100_000_000)
    usage_wait_s: float = Field(default=2.0, ge=0, le=30)
    month_grace_s: int = Field(default=7200, ge=0, le=864_000)

    retention_years: int = Field(
        default=10,
        ge=1,
        le=30,
        description="invoices and payments keep their names for so long (Korea: Commercial Act art. 33, ten years)",
    )

    # ---- who sends the invoices (kept on each as it was when it was issued)
    seller_name: str = Field(default="Upstage", max_length=200)
    seller_registration_number: str = Field(default="", max_length=20, description="ten digits, for Korea's tax office")
    seller_representative: str = Field(default="", max_length=100)
    seller_address: str = Field(default="", max_length=300)
    seller_business_type: str = Field(default="", max_length=100, description="업태, such as 서비스업")
    seller_business_item: str = Field(default="", max_length=100, description="종목, such as 소프트웨어 공급")
    seller_email: str = Field(default="", max_length=200)

    # ---- where an ERP books invoices: numbers of its chart of accounts
    chart_receivable: str = Field(default="108", min_length=1, max_length=20, description="외상매출금")
    chart_revenue: str = Field(default="412", min_length=1, max_length=20, description="서비스매출")
    chart_tax: str = Field(default="255", min_length=1, max_length=20, description="부가세예수금")

    # ---- budget alerts
    alert_check_s: float = Field(default=2.0, gt=0, le=3600, description="how often budgets are looked at")
    alert_timeout_s: float = Field(default=10.0, gt=0, le=60, description="for one attempt to deliver one")
    alert_attempts_at_once: int = Field(default=3, ge=1, le=10, description="attempts in a row, before it waits")
    alert_attempts_max: int = Field(default=20, ge=1, le=100, description="such rows, ever later, before it gives up")
    alert_private_addresses: Literal["refuse", "allow"] = Field(
        default="refuse", description="may an alert be sent into a private network?"
    )

    # ---- traces
    traces_url: str | None = Field(
        default=None,
        pattern="^https?://",
        description="a collector's OTLP address, such as http://collector:4318/v1/traces",
    )
    traces_ratio: float = Field(
        default=1.0, ge=0, le=1, description="of calls whose caller does not say, so many are traced"
    )

    # ---- Stripe
    stripe_api_key: SecretStr | None = Field(
        default=None, validation_alias=AliasChoices("STRIPE_API_KEY", "stripe_api_key"), description="without it: off"
    )
    stripe_webhook_secret: SecretStr | None = Field(
        default=None, validation_alias=AliasChoices("STRIPE_WEBHOOK_SECRET", "stripe_webhook_secret")
    )
    stripe_url: str | None = Field(default=None, max_length=2000, description="another base address, for tests")
    stripe_timeout_ms: int = Field(default=20_000, ge=100, le=120_000, description="for one request")
    stripe_attempts: int = Field(default=3, ge=1, le=10, description="of a request in a row, before its task waits")
    stripe_every_ms: int = Field(default=500, ge=50, le=60_000, description="how often the outbox is looked at")
    stripe_refusals_max: int = Field(default=5, ge=1, le=100, description="of a task, before an operator has to look")
    stripe_from_month: str = Field(
        default="", pattern=r"^(\d{4}-\d{2})?$", description="invoices of earlier months are not sent; empty: all are"
    )
    collection_minimum_usd: Decimal = Field(
        default=Decimal(0), ge=0, le=10_000, description="less is issued, and collected with later invoices"
    )
    collection_minimum_krw: Decimal = Field(default=Decimal(0), ge=0, le=10_000_000, description="the same in won")
    stripe_days_until_due: int = Field(default=30, ge=1, le=365, description="of invoices that go by mail")
    stripe_grace_days: int = Field(default=14, ge=0, le=365, description="after a failed or missed payment")
    stripe_return_url: str = Field(default="https://www.upstage.ai", max_length=2000, description="after a checkout")
    stripe_meter_event: str = Field(default="solar_cost_nano_usd", min_length=1, max_length=100)
    stripe_meter_every_s: int = Field(default=300, ge=60, le=86_400, description="how often usage is told to its meter")
    stripe_webhook_age_s: int = Field(default=300, ge=10, le=3600, description="older deliveries are refused")
    stripe_webhook_max_bytes: int = Field(default=MIB, ge=1024, le=16 * MIB)

    # ---- processes
    shutdown_grace_s: float = Field(default=30.0, ge=0, le=3600, description="running calls may go on for so long")
    shutdown_delay_s: float = Field(
        default=0.0, ge=0, le=60, description="not ready, yet still serving: until balancers have noticed"
    )
    shutdown_linger_s: float = Field(
        default=1.0, ge=0, le=60, description="a worker that stops closes idle connections only after this"
    )

    @model_validator(mode="after")
    def _shards_by_kind(self) -> Self:
        if self.shards == 0:
            url = "" if self.redis_url is None else self.redis_url.get_secret_value()
            self.shards = _CLUSTER_SHARDS if url.partition("://")[0].endswith("+cluster") else 1
        return self

    @field_validator("upstream_keys")
    @classmethod
    def _keys_can_be_read(cls, keys: SecretStr) -> SecretStr:
        read_roster(keys.get_secret_value(), "")
        return keys

    def upstream_roster(self) -> tuple[UpstreamKey, ...]:
        """Our keys with upstream, and where each is used."""
        keys = self.upstream_keys.get_secret_value() or self.upstage_api_key.get_secret_value()
        return read_roster(keys, self.upstream_url)


def read_settings(**overrides: object) -> Settings:
    """Settings from the environment; raises `SettingsError` naming the variable and what is wrong with it."""
    folder = os.environ.get("GATEWAY_SECRETS_DIR") or None
    if folder is not None and not Path(folder).is_dir():
        raise SettingsError(f"GATEWAY_SECRETS_DIR: {folder} is not a folder")
    try:
        return Settings(**{"_secrets_dir": folder, **overrides})  # type: ignore[arg-type]
    except ValidationError as error:
        first = error.errors()[0]
        name = "_".join(str(part) for part in first["loc"]).upper()
        name = name if name in _STRIPES_OWN else f"GATEWAY_{name}"
        raise SettingsError(f"{name}: {first['msg']}") from None
