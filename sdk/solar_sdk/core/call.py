"""One call through all its attempts: its deadline, its Idempotency-Key, its meters, and what every outcome means.

No I/O: the clients send `request_arguments()` and hand back what came or failed. One key for all attempts of a POST, so
that a request whose answer was lost may be sent again without being paid twice (contract, section 3).
Units: seconds, bytes. Raises the errors of the tree.
"""

import json
import platform
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Generic, TypeVar, cast

import httpx

from ..answers.replies import RawAnswer
from ..errors import ConfigurationError, MalformedAnswerError, SolarError, StreamInterruptedError, TransportError
from ..metering import Tally
from . import faults
from .deadline import Deadline
from .fold import Fold
from .observing import Observers, facts_of
from .operations import Operation, unread
from .retry import RetryOptions, retry_options
from .settings import Settings, checked_retries, checked_timeout_s

CONNECT_S_MAX = 10.0
ANSWER_BYTES_MAX = 256 * 1024 * 1024
REFUSAL_BYTES_MAX = 256 * 1024
DRAIN_S_MAX = 0.25  # after [DONE], for the body's own end, so that the connection can serve again
IDEMPOTENCY_KEY_CHARACTERS_MAX = 255
SDK_VERSION = (
    "0.1.0"  # as in pyproject.toml (a test compares them): reading it from the package's metadata costs an import 20 ms
)
USER_AGENT = f"solar-sdk/{SDK_VERSION} python/{platform.python_version()} httpx/{httpx.__version__}"

_T = TypeVar("_T")


class Call(Generic[_T]):
    def __init__(self, settings: Settings, operation: Operation[_T]) -> None:
        self._settings = settings
        self._operation = operation
        self._headers = self._build_headers()
        self._tally = Tally(operation.model) if operation.model else None
        self._counted = False
        self._watched = Observers(settings.observers, operation.path, operation.model, operation.stream)
        timeout_s = operation.options.get("timeout_s")
        self.deadline = Deadline(settings.timeout_s if timeout_s is None else checked_timeout_s(timeout_s))

    def __repr__(self) -> str:
        return f"Call({self._operation.method} {self._operation.path})"

    def retry_options(self) -> RetryOptions:
        given = self._operation.options.get("max_retries")
        return retry_options(self._settings.retries_max if given is None else checked_retries(given), self.deadline)

    def over(self, error: BaseException | None = None) -> None:
        """The call has ended for good, well or not. Safe to repeat: the first time counts."""
        if self._tally is not None and error is not None and not self._counted:
            self._tally.never_answered()
        self._watched.ended(error)

    def request_arguments(self) -> dict[str, Any]:
        """Arguments of `httpx.Client.build_request` for the next attempt; no wait is longer than what is left."""
        self.deadline.check()
        left_s = self.deadline.bounded_s(None)
        return {
            "method": self._operation.method,
            "url": f"{self._settings.base_url}{self._operation.path}",
            "params": dict(self._operation.query) or None,
            "headers": self._headers,
            "content": self._operation.body,
            "timeout": httpx.Timeout(left_s, connect=min(left_s, CONNECT_S_MAX)),
        }

    def answer(self, response: httpx.Response, body: bytes) -> _T:
        """Reads a whole 2xx answer."""
        self._count_answered()
        if self._operation.read is unread:
            answer = RawAnswer(response.status_code, dict(response.headers), body, response.headers.get("x-request-id"))
            return cast("_T", answer)
        try:
            decoded = json.loads(body)
            if not isinstance(decoded, dict):
                raise MalformedAnswerError("The answer is not a JSON object.", code="malformed_answer")
            result = self._operation.read(decoded, response.headers)
        except ValueError:
            raise self.known(
                MalformedAnswerError("The answer is not JSON.", code="malformed_answer"), response
            ) from None
        except MalformedAnswerError as error:
            raise self.known(error, response) from None
        self._count_told(result)
        return result

    def begin_stream(self, response: httpx.Response) -> Fold:
        self._count_answered()
        return self._operation.fold(response.headers.get("x-request-id"))

    def end_stream(self, fold: Fold, response: httpx.Response) -> _T:
        """The final reply of a stream that came to its end; its price stands in the usage event."""
        try:
            result = self._operation.read(fold.completion(), response.headers)
        except MalformedAnswerError as error:
            raise self.known(error, response) from None
        self._count_told(result)
        return result

    def refusal(self, response: httpx.Response, body: bytes) -> SolarError:
        """The error of an answer that is not 2xx."""
        now = datetime.now(UTC)
        return self.known(faults.from_wire_refusal(response.status_code, response.headers, body, now), response)

    def bytes_max(self, response: httpx.Response) -> int:
        return ANSWER_BYTES_MAX if response.is_success else REFUSAL_BYTES_MAX

    def too_large(self, response: httpx.Response) -> SolarError:
        bytes_max = self.bytes_max(response)
        error = MalformedAnswerError(f"The answer is larger than {bytes_max} bytes.", code="answer_too_large")
        return self.known(error, response)

    def failure(self, error: httpx.HTTPError | TimeoutError, response: httpx.Response | None = None) -> SolarError:
        """The error of an attempt that got no whole answer.

        It may have been served and charged; sent again under its Idempotency-Key it brings the same answer, charged once.
        """
        call_id = None if response is None else response.headers.get("x-request-id")
        waited_out = isinstance(error, TimeoutError | httpx.TimeoutException)
        if self.deadline.passed() or (waited_out and not isinstance(error, httpx.ConnectTimeout)):
            return self.deadline.error(call_id)
        if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout):
            return TransportError(
                f"No connection to {self._settings.base_url}: {self._told_by(error)}.",
                code="connection_failed",
                retryable=True,
            )
        ours = isinstance(error, httpx.UnsupportedProtocol | httpx.LocalProtocolError | httpx.DecodingError)
        return TransportError(
            f"The connection broke before the answer was whole: {self._told_by(error)}.",
            code="connection_broken",
            call_id=call_id,
            retryable=not ours and _is_remembered(response),
        )

    def cut_before_first_byte(self, response: httpx.Response) -> SolarError:
        """The error of a stream that ended before it began: nothing was handed out, but it may have been charged."""
        text = "The stream ended before its first byte."
        error = TransportError(text, code="connection_broken", retryable=_is_remembered(response))
        return self.known(error, response)

    def interrupted(self, error: TransportError) -> SolarError:
        """The error of a stream whose connection broke after its first byte: never retried."""
        return StreamInterruptedError(error.message, code="stream_cut", call_id=error.call_id)

    def known(self, error: SolarError, response: httpx.Response) -> SolarError:
        """The error with what the response knows, and without the key should a server have echoed it."""
        redact = self._settings.api_key.redact
        error.message = redact(error.message)
        error.args = (error.message,)
        error.code = None if error.code is None else redact(error.code)
        error.call_id = error.call_id or response.headers.get("x-request-id")
        if error.status is None and not self._operation.stream:
            error.status = response.status_code
        return error

    def _told_by(self, error: Exception) -> str:
        return self._settings.api_key.redact(str(error)) or type(error).__name__

    def _count_answered(self) -> None:
        # Once a call, not once an attempt: a stream that broke before its first byte may be begun again.
        if self._tally is not None and not self._counted:
            self._counted = True
            self._tally.answered()

    def _count_told(self, result: object) -> None:
        facts = facts_of(result)
        self._watched.answered(facts)
        if self._tally is not None and facts is not None:
            self._tally.told(facts.usage, facts.cost, facts.currency)

    def _build_headers(self) -> Mapping[str, str]:
        headers = {
            **{name.lower(): value for name, value in self._operation.options.get("headers", {}).items()},
            "authorization": self._settings.api_key.bearer(),
            "user-agent": USER_AGENT,
            "accept": "text/event-stream" if self._operation.stream else "application/json",
        }
        if self._operation.stream:
            headers["accept-encoding"] = "identity"  # a compressing hop would hold pieces back
        if self._operation.body is not None:
            headers["content-type"] = self._operation.content_type
        if self._operation.method == "POST":
            headers["idempotency-key"] = _checked_key(self._operation.options.get("idempotency_key"))
        return headers


def _is_remembered(response: httpx.Response | None) -> bool:
    """Does the gateway know this call by its Idempotency-Key? It says so where it could not remember it: its store was away."""
    return response is None or response.headers.get("x-solar-idempotency") != "off"


def _checked_key(key: str | None) -> str:
    if key is None:
        return str(uuid.uuid4())
    if not 0 < len(key) <= IDEMPOTENCY_KEY_CHARACTERS_MAX or not all("!" <= letter <= "~" for letter in key):
        raise ConfigurationError(
            f"idempotency_key must be 1 to {IDEMPOTENCY_KEY_CHARACTERS_MAX} visible ASCII characters.",
            code="bad_idempotency_key",
        )
    return key
