"""`solar-gateway accounts`: who pays. Amounts are decimal text in the account's currency. Exit codes: as in `terminal.py`.

The gateway knows limits and tax as wholes: what is left out of them is lifted, so a change must name a whole.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Any, TypeAlias

import typer

from billing.invoice.parties import PARTY_DETAILS
from gateway.cli.operator_client import DEFAULT_URL, Answer, WrongArgument
from gateway.cli.terminal import ROWS_MAX, AccountId, AsJson, RowsMax, Url, operator, print_list, print_one

app = typer.Typer(no_args_is_help=True, help="Who pays: currency, cap, limits, tax, and whether they may call.")

NONE = "none"
LIMITS = ("requests-per-minute", "tokens-per-minute", "concurrency")
Cap: TypeAlias = Annotated[str | None, typer.Option("--monthly-cap", metavar="AMOUNT", help="Or `none`.")]
Requests: TypeAlias = Annotated[str | None, typer.Option("--requests-per-minute", metavar="N", help="Or `none`.")]
Tokens: TypeAlias = Annotated[str | None, typer.Option("--tokens-per-minute", metavar="N", help="Or `none`.")]
Concurrency: TypeAlias = Annotated[str | None, typer.Option("--concurrency", metavar="N", help="Or `none`.")]
ModelLimit: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        "--model-limit",
        metavar="MODEL:LIMIT=N,…",
        help="Limits of one model's calls beside those of all, such as `solar-pro4:requests-per-minute=60,concurrency=4`; "
        "`solar-pro4:none` lifts them. May be repeated.",
    ),
]
Prepaid: TypeAlias = Annotated[str | None, typer.Option("--prepaid-balance", metavar="AMOUNT")]
TaxCountry: TypeAlias = Annotated[str | None, typer.Option("--tax-country", metavar="KR", help="Or `none`.")]
TaxNumber: TypeAlias = Annotated[str | None, typer.Option("--tax-number", help="The registration number.")]
TaxDetail: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        "--tax-detail",
        metavar="NAME=TEXT",
        help="What Korea's tax invoices name: representative, address, business_type, business_item, email.",
    ),
]
OwnerGroup: TypeAlias = Annotated[str | None, typer.Option("--owner-group", help="Accounts of one owner.")]

AlertUrl: TypeAlias = Annotated[
    str | None, typer.Option("--alert-webhook-url", help="Where budget alerts are sent (https), or `none`.")
]

_COLUMNS = {
    "id": "id",
    "name": "name",
    "kind": "kind",
    "status": "status",
    "billing": "billing",
    "currency": "currency",
    "cap": "monthly_cap",
    "balance": "prepaid_balance",
    "zone": "timezone",
}

_ALERT_COLUMNS = {
    "scope": "scope",
    "key": "key_id",
    "month": "month",
    "reached %": "threshold",
    "why": "reason",
    "budget": "budget",
    "spent": "spent",
    "currency": "currency",
    "at": "at",
    "delivered": "delivered_at",
}


@app.command()
def create(
    name: Annotated[str, typer.Argument(help="What people call it.")],
    kind: Annotated[str | None, typer.Option(help="standard (default) or club.")] = None,
    currency: Annotated[str | None, typer.Option(help="USD (default) or KRW.")] = None,
    timezone: Annotated[str | None, typer.Option(help="Where its months end; default Asia/Seoul.")] = None,
    billing: Annotated[str | None, typer.Option(help="invoice (default), prepaid or stripe_meter.")] = None,
    monthly_cap: Cap = None,
    prepaid_balance: Prepaid = None,
    requests_per_minute: Requests = None,
    tokens_per_minute: Tokens = None,
    concurrency: Concurrency = None,
    model_limit: ModelLimit = None,
    tax_country: TaxCountry = None,
    tax_number: TaxNumber = None,
    tax_detail: TaxDetail = None,
    owner_group: OwnerGroup = None,
    alert_webhook_url: AlertUrl = None,
    url: Url = DEFAULT_URL,
    as_json: AsJson = False,
) -> None:
    """Open an account."""
    with operator(url) as gateway:
        texts = {
            "name": name,
            "kind": kind,
            "currency": currency,
            "timezone": timezone,
            "billing": billing,
            "prepaid_balance": prepaid_balance,
            "owner_group": owner_group,
        }
        body = {
            **given(texts),
            **cap_of(monthly_cap),
            **limits_of(requests_per_minute, tokens_per_minute, concurrency, model_limit),
            **_tax_of(tax_country, tax_number, tax_detail),
            **_alerts_to(alert_webhook_url),
        }
        print_one(gateway.post("accounts", body=body), as_json, "Account created")


@app.command("list")
def listed(limit: RowsMax = ROWS_MAX, url: Url = DEFAULT_URL, as_json: AsJson = False) -> None:
    """All accounts."""
    with operator(url) as gateway:
        print_list(gateway.listed("accounts", rows_max=limit), _COLUMNS, as_json, "Accounts")


@app.command()
def show(account: AccountId, url: Url = DEFAULT_URL, as_json: AsJson = False) -> None:
    """One account, with all that is known of it."""
    with operator(url) as gateway:
        print_one(gateway.get("accounts", account), as_json, "Account")


@app.command()
def change(
    account: AccountId,
    name: Annotated[str | None, typer.Option(help="What people call it.")] = None,
    status: Annotated[str | None, typer.Option(help="active, suspended or closed.")] = None,
    monthly_cap: Cap = None,
    prepaid_balance: Prepaid = None,
    requests_per_minute: Requests = None,
    tokens_per_minute: Tokens = None,
    concurrency: Concurrency = None,
    model_limit: ModelLimit = None,
    tax_country: TaxCountry = None,
    tax_number: TaxNumber = None,
    tax_detail: TaxDetail = None,
    owner_group: OwnerGroup = None,
    alert_webhook_url: AlertUrl = None,
    url: Url = DEFAULT_URL,
    as_json: AsJson = False,
) -> None:
    """Change what is given, from the next call on. The three limits of all calls are set together; a model's limits each for itself."""
    with operator(url) as gateway:
        texts = {
            "name": name,
            "status": status,
            "prepaid_balance": prepaid_balance,
            "owner_group": owner_group,
        }
        limits = (requests_per_minute, tokens_per_minute, concurrency)
        body = {
            **given(texts),
            **cap_of(monthly_cap),
            **changed_limits(lambda: gateway.get("accounts", account), limits, model_limit),
            **_tax_of(tax_country, tax_number, tax_detail),
        }
        body |= _alerts_to(alert_webhook_url)
        if not body:
            raise WrongArgument("nothing to change is named; see `solar-gateway accounts change --help`")
        print_one(gateway.patch("accounts", account, body=body), as_json, "Account changed")


@app.command()
def suspend(account: AccountId, url: Url = DEFAULT_URL, as_json: AsJson = False) -> None:
    """Refuse its calls from the next one on; what it owes stays."""
    with operator(url) as gateway:
        print_one(gateway.patch("accounts", account, body={"status": "suspended"}), as_json, "Account suspended")


@app.command()
def restore(account: AccountId, url: Url = DEFAULT_URL, as_json: AsJson = False) -> None:
    """Let it call again."""
    with operator(url) as gateway:
        print_one(gateway.patch("accounts", account, body={"status": "active"}), as_json, "Account restored")


@app.command()
def alerts(account: AccountId, url: Url = DEFAULT_URL, as_json: AsJson = False) -> None:
    """Which thresholds its budgets have reached, and whether that was delivered."""
    with operator(url) as gateway:
        print_list(gateway.listed("accounts", account, "alerts", rows_max=ROWS_MAX), _ALERT_COLUMNS, as_json, "Alerts")


def given(fields: dict[str, Any]) -> dict[str, Any]:
    """Those that were named on the command line; the gateway has a default for the others."""
    return {name: value for name, value in fields.items() if value is not None}


def cap_of(text: str | None) -> dict[str, str | None]:
    return {} if text is None else {"monthly_cap": None if text == NONE else text}


def limits_of(
    requests: str | None, tokens: str | None, concurrency: str | None, of_models: list[str] | None = None
) -> dict[str, Any]:
    """The limits as one object, where any is named; raises `WrongArgument`."""
    texts = dict(zip(LIMITS, (requests, tokens, concurrency), strict=True))
    limits: dict[str, Any] = {option.replace("-", "_"): _limit(option, text) for option, text in texts.items()}
    models = _model_limits(of_models)
    if models:
        limits["models"] = {model: own for model, own in models.items() if own is not None}
    return {"limits": limits} if models or any(text is not None for text in texts.values()) else {}


def changed_limits(
    known: Callable[[], Answer],
    three: tuple[str | None, str | None, str | None],
    of_models: list[str] | None,
) -> dict[str, Any]:
    """The limits as one object: what is not named stays as it is known; raises `WrongArgument` where only some of the three are."""
    if not any(three) and not of_models:
        return {}
    if None in three and any(three):
        missing = next(option for option, text in zip(LIMITS, three, strict=True) if text is None)
        raise WrongArgument(f"--{missing}: the three limits are set together; give it too, as a number or `none`")
    before: Mapping[str, Any] = known().value["limits"]
    models = {**before.get("models", {}), **_model_limits(of_models)}
    limits = limits_of(*three)["limits"] if any(three) else {name: before[name] for name in before if name != "models"}
    return {"limits": {**limits, "models": {model: own for model, own in models.items() if own is not None}}}


def _model_limits(texts: list[str] | None) -> dict[str, dict[str, int | None] | None]:
    """Model → its limits, None for `none`."""
    return dict(map(_model_limit, texts or []))


def _model_limit(text: str) -> tuple[str, dict[str, int | None] | None]:
    model, is_there, named = text.rpartition(":")
    if not is_there or not model:
        raise WrongArgument(f"--model-limit: {text!r} is no MODEL:LIMIT=N,… such as solar-pro4:requests-per-minute=60")
    if named == NONE:
        return model, None
    limits: dict[str, int | None] = {}
    for part in named.split(","):
        option, _, number = part.partition("=")
        if option not in LIMITS:
            raise WrongArgument(f"--model-limit: {option!r} is none of {', '.join(LIMITS)}")
        limits[option.replace("-", "_")] = _limit("model-limit", number)
    return model, limits


def _limit(option: str, text: str | None) -> int | None:
    if text is None or text == NONE:
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 20):
        raise WrongArgument(f"--{option}: {text!r} is neither a whole number nor `none`")
    return int(text)


def _alerts_to(url: str | None) -> dict[str, str | None]:
    return {} if url is None else {"alert_webhook_url": None if url == NONE else url}


def _tax_of(country: str | None, number: str | None, details: list[str] | None) -> dict[str, Any]:
    if country is None and number is not None:
        raise WrongArgument("--tax-number: needs --tax-country too; the two are set together")
    if country is None and details:
        raise WrongArgument("--tax-detail: needs --tax-country too; they are set together")
    if country is None:
        return {}
    named = dict(_detail(text) for text in details or [])
    return {"tax": None if country == NONE else {"country": country, "registration_number": number, **named}}


def _detail(text: str) -> tuple[str, str]:
    name, is_there, value = text.partition("=")
    if not is_there or name not in PARTY_DETAILS:
        raise WrongArgument(f"--tax-detail: {text!r} is no NAME=TEXT with one of {', '.join(PARTY_DETAILS)}")
    return name, value


@app.command()
def erase(
    account: AccountId,
    yes: Annotated[bool, typer.Option("--yes", help="Do it: it cannot be undone.")] = False,
    url: Url = DEFAULT_URL,
    as_json: AsJson = False,
) -> None:
    """Take the personal data of a closed account away; says what the law keeps, and until when."""
    with operator(url) as gateway:
        if not yes:
            raise WrongArgument("what is erased cannot be brought back; say --yes to do it")
        print_one(gateway.post("accounts", account, "erase"), as_json, "Personal data erased")
