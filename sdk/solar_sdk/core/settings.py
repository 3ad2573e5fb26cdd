"""What a client is set to: key, address, total deadline, retries; from arguments first, then from the environment.

Units: `timeout_s` in seconds. Raises ConfigurationError, whose text never holds the key.
The key lives in `ApiKey`, which no repr, format or pickle shows.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NoReturn

import httpx

from ..errors import ConfigurationError
from .observing import Observer

DEFAULT_BASE_URL = "http://127.0.0.1:8080/v1"
DEFAULT_TIMEOUT_S = 600.0
DEFAULT_RETRIES_MAX = 2
TIMEOUT_S_MAX = 86_400.0
RETRIES_MAX = 10


class ApiKey:
    """A gateway key that does not show itself."""

    __slots__ = ("_secret",)

    def __init__(self, secret: str) -> None:
        secret = secret.strip()
        if not secret:
            raise ConfigurationError("The API key is empty.", code="missing_api_key")
        if not all("!" <= character <= "~" for character in secret):
            # Said here: an HTTP library would print the whole header, key and all.
            raise ConfigurationError("The API key holds a space or a character outside ASCII.", code="bad_api_key")
        self._secret = secret

    def __repr__(self) -> str:
        return "ApiKey(***)"

    def __reduce__(self) -> NoReturn:
        raise TypeError("an ApiKey is not pickled: build the client where it is used")

    def bearer(self) -> str:
        return f"Bearer {self._secret}"

    def redact(self, text: str) -> str:
        return text.replace(self._secret, "***")


@dataclass(frozen=True)
class Settings:
    """Checked settings of one client."""

    api_key: ApiKey
    base_url: str
    timeout_s: float
    retries_max: int
    observers: tuple[Observer, ...] = ()

    @classmethod
    def resolve(
        cls,
        environ: Mapping[str, str],
        *,
        api_key: str | None = None,
        base_url: str | None = None,
        timeout_s: float | None = None,
        max_retries: int | None = None,
        observers: Sequence[Observer] = (),
    ) -> "Settings":
        secret = api_key if api_key is not None else environ.get("SOLAR_API_KEY", "")
        if not secret.strip():
            raise ConfigurationError(
                "No gateway key. Set the environment variable SOLAR_API_KEY, or pass api_key=... to Solar(), "
                "AsyncSolar() or solar_sdk.configure(). Your operator issues keys (they begin with sk-solar-).",
                code="missing_api_key",
            )
        return cls(
            api_key=ApiKey(secret),
            base_url=normal_base_url(base_url or environ.get("SOLAR_BASE_URL", "").strip() or DEFAULT_BASE_URL),
            timeout_s=checked_timeout_s(DEFAULT_TIMEOUT_S if timeout_s is None else timeout_s),
            retries_max=checked_retries(DEFAULT_RETRIES_MAX if max_retries is None else max_retries),
            observers=tuple(observers),
        )


def checked_retries(retries: int) -> int:
    if not 0 <= retries <= RETRIES_MAX:
        raise ConfigurationError(f"max_retries must be from 0 to {RETRIES_MAX}, not {retries}.")
    return retries


def checked_timeout_s(timeout_s: float) -> float:
    if not (math.isfinite(timeout_s) and 0 < timeout_s <= TIMEOUT_S_MAX):
        raise ConfigurationError(f"timeout_s must be above 0 and at most {TIMEOUT_S_MAX:.0f} seconds, not {timeout_s}.")
    return timeout_s


def normal_base_url(base_url: str) -> str:
    """The address with `/v1` at its end and no slash behind it."""
    try:
        url = httpx.URL(base_url.rstrip("/"))
    except httpx.InvalidURL as error:
        raise ConfigurationError(f"The base URL cannot be read: {error}.", code="bad_base_url") from None
    if url.userinfo:
        raise ConfigurationError("The base URL must not carry a user or password.", code="bad_base_url")
    if url.scheme not in ("http", "https") or not url.host or url.query or url.fragment:
        raise ConfigurationError(
            f"The base URL must look like https://gateway.example/v1, not {base_url!r}.", code="bad_base_url"
        )
    address = str(url).rstrip("/")
    return address if address.endswith("/v1") else f"{address}/v1"
