"""A thin client of the operator API (design.md section 3): where it is, how it is opened, and what went wrong in one line.

    OperatorError            ends a command with exit 1
    ├── Refused              the gateway's own refusal, with its code and message
    ├── NotReachable         nobody answers, or too late
    └── NotTheGateway        what answers does not speak as the gateway does
    WrongArgument            ends it with exit 2, as `SettingsError` does

Answers are kept as the bytes that came, so that what is printed as JSON is what was said. Bounds: the time of an answer, its
size, and the rows of a list. Units: `_s`, `_bytes`.
"""

from __future__ import annotations

import json
import re
import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Any, TypeAlias

import httpx
import msgspec

from gateway.settings import MIB, Settings, SettingsError

DEFAULT_URL = "http://127.0.0.1:8080"
ANSWER_S = 30.0
_CONNECT_S = 5.0
_ANSWER_MAX_BYTES = 64 * MIB
_PAGE_ROWS = 200
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,99}")
Query: TypeAlias = Mapping[str, str | int | None]
"""What is None is left to the gateway."""
_LOOPBACK = ("127.0.0.1", "localhost", "::1")
_JSON = "application/json"


class WrongArgument(ValueError):
    """An argument that cannot be meant."""


class OperatorError(RuntimeError):
    """It was asked for, and was not done."""


class Refused(OperatorError):
    """The gateway said no."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code


class NotReachable(OperatorError):
    """No gateway, or no answer in time."""


class NotTheGateway(OperatorError):
    """Something answered that is no gateway, or an older or newer one."""

    def __init__(self, url: str, what: str) -> None:
        super().__init__(f"{url} {what}: is it a SOLAR gateway?")


@dataclass(frozen=True, slots=True)
class Answer:
    """What the gateway said, byte for byte."""

    raw: bytes

    @property
    def value(self) -> Any:
        """As Python values; a number with a point stays the text that it was."""
        return json.loads(self.raw, parse_float=str)


class _Page(msgspec.Struct):
    data: list[msgspec.Raw]
    next: str | None = None


class _Fault(msgspec.Struct):
    message: str
    code: str


class _Refusal(msgspec.Struct):
    error: _Fault


class OperatorClient:
    """One operator at one gateway. `page_rows` is how many rows of a list are fetched at a time."""

    def __init__(self, url: str, token: str, page_rows: int = _PAGE_ROWS) -> None:
        self.url = base_of(url)
        self._page_rows = page_rows
        here = httpx.URL(self.url).host in _LOOPBACK
        self._http = httpx.Client(
            base_url=f"{self.url}/operator/v1/",
            headers={"authorization": f"Bearer {token}"},
            # A proxy of the environment is for the world outside: it must not see what is said on this machine.
            trust_env=not here,
            # Plain HTTP needs no certificates, and reading them all takes longer than the call; a context without any trusts nobody.
            verify=ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT) if here and self.url.startswith("http:") else True,
        )

    def __enter__(self) -> OperatorClient:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._http.close()

    def get(self, *path: str, query: Query | None = None, accept: str = _JSON, answer_s: float = ANSWER_S) -> Answer:
        return self._ask("GET", path, query=query, accept=accept, answer_s=answer_s)

    def post(
        self,
        *path: str,
        body: Mapping[str, Any] | bytes | None = None,
        query: Query | None = None,
        answer_s: float = ANSWER_S,
        content_type: str = _JSON,
    ) -> Answer:
        """A body of bytes goes as it is: JSON already, or of another type."""
        body = {} if body is None else body
        return self._ask("POST", path, query=query, body=body, answer_s=answer_s, content_type=content_type)

    def patch(self, *path: str, body: Mapping[str, Any]) -> Answer:
        return self._ask("PATCH", path, body=body)

    def delete(self, *path: str) -> Answer:
        return self._ask("DELETE", path)

    def listed(self, *path: str, rows_max: int, query: Query | None = None) -> Answer:
        """A list, page after page, at most `rows_max` rows; where more exist, `next` is the cursor behind the last row."""
        rows: list[msgspec.Raw] = []
        after: str | None = None
        while True:
            asked = min(self._page_rows, rows_max - len(rows))
            answer = self.get(*path, query={**(query or {}), "limit": asked, "after": after})
            try:
                page = msgspec.json.decode(answer.raw, type=_Page)
            except msgspec.ValidationError:
                raise NotTheGateway(self.url, "answered with something other than a list") from None
            if not rows and page.next is None:
                return answer
            rows += page.data
            if page.next is None or len(rows) >= rows_max:
                return Answer(msgspec.json.encode(_Page(rows, page.next)))
            if not page.data or page.next == after:
                raise NotTheGateway(self.url, "answers with a list that has no end")
            after = page.next

    def every(self, *path: str, query: Query) -> Iterator[dict[str, Any]]:
        """All rows of a list of any length, one after the other; one page is held at a time."""
        after: str | None = None
        while True:
            answer = self.get(*path, query={**query, "limit": self._page_rows, "after": after})
            try:
                page = msgspec.json.decode(answer.raw, type=_Page)
            except msgspec.ValidationError:
                raise NotTheGateway(self.url, "answered with something other than a list") from None
            for row in page.data:
                yield msgspec.json.decode(row, type=dict[str, Any])
            if page.next is None:
                return
            if not page.data or page.next == after:
                raise NotTheGateway(self.url, "answers with a list that has no end")
            after = page.next

    def _ask(
        self,
        method: str,
        path: tuple[str, ...],
        *,
        body: Mapping[str, Any] | bytes | None = None,
        query: Query | None = None,
        accept: str = _JSON,
        answer_s: float = ANSWER_S,
        content_type: str = _JSON,
    ) -> Answer:
        content = body if isinstance(body, bytes | None) else json.dumps(dict(body), ensure_ascii=False).encode()
        headers = {"accept": accept} | ({} if content is None else {"content-type": content_type})
        given = {name: value for name, value in (query or {}).items() if value is not None}
        request = self._http.build_request(
            method,
            "/".join(_id(part) for part in path),
            params=given,
            content=content,
            headers=headers,
            timeout=httpx.Timeout(answer_s, connect=_CONNECT_S),
        )
        with self._one_line_errors(method, answer_s):
            response = self._http.send(request, stream=True)
            try:
                raw = self._read(response)
            finally:
                response.close()
        if not response.is_success:
            raise self._refusal(response.status_code, raw)
        if accept == _JSON and not _is_json(raw):
            raise NotTheGateway(self.url, "answered with something other than JSON")
        return Answer(raw)

    def _read(self, response: httpx.Response) -> bytes:
        parts, size = [], 0
        for part in response.iter_bytes():
            parts.append(part)
            size += len(part)
            if size > _ANSWER_MAX_BYTES:
                raise NotTheGateway(self.url, f"answered with more than {_ANSWER_MAX_BYTES // MIB} MiB")
        return b"".join(parts)

    def _refusal(self, status: int, raw: bytes) -> OperatorError:
        try:
            fault = msgspec.json.decode(raw, type=_Refusal).error
        except msgspec.DecodeError:
            return NotTheGateway(self.url, f"answered {status}, not in the gateway's words")
        return Refused(fault.code, fault.message)

    @contextmanager
    def _one_line_errors(self, method: str, answer_s: float) -> Iterator[None]:
        undecided = "" if method == "GET" else " It may have been done all the same: look before you repeat it."
        try:
            yield
        except httpx.ConnectTimeout:
            raise NotReachable(f"{self.url} cannot be reached within {_CONNECT_S:g} s. {_ADVICE}") from None
        except httpx.ConnectError as error:
            raise NotReachable(f"No gateway answers at {self.url} ({error}). {_ADVICE}") from None
        except httpx.TimeoutException:
            raise NotReachable(f"{self.url} gave no answer within {answer_s:g} s.{undecided}") from None
        except httpx.HTTPError as error:
            why = f"{error}" or type(error).__name__
            raise NotReachable(f"The answer of {self.url} broke off ({why}).{undecided}") from None


_ADVICE = "Start one with `solar-gateway serve`, or name another with --url or GATEWAY_URL."


def base_of(url: str) -> str:
    """The address as `serve` or an SDK names it, without its `/v1`; raises `WrongArgument`."""
    base = url.strip().rstrip("/").removesuffix("/v1").rstrip("/")
    try:
        parsed = httpx.URL(base)
    except httpx.InvalidURL as error:
        raise WrongArgument(f"--url or GATEWAY_URL: {url!r} is not an address ({error})") from None
    stray = parsed.userinfo or parsed.query or parsed.fragment or any(letter.isspace() for letter in base)
    if parsed.scheme not in ("http", "https") or not parsed.host or stray:
        raise WrongArgument(f"--url or GATEWAY_URL: {url!r} is not an address such as {DEFAULT_URL}")
    return base


def token_of(settings: Settings) -> str:
    """GATEWAY_OPERATOR_TOKEN, else what a sandbox left in its data directory; raises `SettingsError`."""
    if settings.operator_token is not None:
        token, whence = settings.operator_token.get_secret_value().strip(), "GATEWAY_OPERATOR_TOKEN"
    else:
        path = settings.data_dir / "operator-token"
        try:
            token, whence = path.read_text(encoding="utf-8").strip(), str(path)
        except FileNotFoundError:
            raise SettingsError(
                f"GATEWAY_OPERATOR_TOKEN is needed, the gateway's operator token (a sandbox leaves its own in {path})"
            ) from None
        except (OSError, UnicodeDecodeError) as error:
            raise SettingsError(f"{path}: the operator token cannot be read ({error})") from None
    if not token or not token.isascii() or not token.isprintable() or " " in token:
        raise SettingsError(f"{whence}: that is no operator token; it is one word of plain ASCII")
    return token


def _id(part: str) -> str:
    if not _ID.fullmatch(part):
        raise WrongArgument(f"{part!r} is not an id; the list commands print them")
    return part


def _is_json(raw: bytes) -> bool:
    try:
        msgspec.json.decode(raw, type=msgspec.Raw)
    except msgspec.DecodeError:
        return False
    return True
