"""Reads decoded JSON into typed values. Money arrives as a decimal string and leaves as Decimal, never through a float.

Units: times are RFC 3339 instants, kept with their zone. Unknown fields are left alone.
Raises MalformedAnswerError, which names the field that is missing or of the wrong kind.
"""

from collections.abc import Callable, Mapping
from datetime import datetime
from decimal import Decimal, InvalidOperation
from typing import Any, TypeVar

from ..errors import MalformedAnswerError

Json = dict[str, Any]
_T = TypeVar("_T")


def malformed(field: str, wanted: str) -> MalformedAnswerError:
    return MalformedAnswerError(f"The answer's {field!r} is not {wanted}.", code="malformed_answer")


def as_object(value: object, field: str) -> Json:
    if not isinstance(value, dict):
        raise malformed(field, "an object")
    return value


def objects(source: Mapping[str, Any], field: str) -> list[Json]:
    values = source.get(field)
    if not isinstance(values, list):
        raise malformed(field, "a list")
    return [as_object(value, f"{field}[{index}]") for index, value in enumerate(values)]


def each(source: Mapping[str, Any], field: str, read: Callable[[Json], _T]) -> tuple[_T, ...]:
    return tuple(read(value) for value in objects(source, field))


def optional_object(source: Mapping[str, Any], field: str) -> Json | None:
    return None if source.get(field) is None else as_object(source[field], field)


def text(source: Mapping[str, Any], field: str) -> str:
    value = optional_text(source, field)
    if value is None:
        raise malformed(field, "text")
    return value


def optional_text(source: Mapping[str, Any], field: str) -> str | None:
    value = source.get(field)
    if value is not None and not isinstance(value, str):
        raise malformed(field, "text")
    return value


def count(source: Mapping[str, Any], field: str) -> int:
    """A whole number; 0 where the field is absent."""
    return optional_count(source, field) or 0


def optional_count(source: Mapping[str, Any], field: str) -> int | None:
    value = source.get(field)
    if value is not None and (not isinstance(value, int) or isinstance(value, bool)):
        raise malformed(field, "a whole number")
    return value


def decimal(source: Mapping[str, Any], field: str) -> Decimal:
    value = optional_decimal(source, field)
    if value is None:
        raise malformed(field, "a decimal")
    return value


def optional_decimal(source: Mapping[str, Any], field: str) -> Decimal | None:
    value = source.get(field)
    return None if value is None else to_decimal(value, field)


def to_decimal(value: object, field: str) -> Decimal:
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise malformed(field, "a decimal string")
    try:
        number = Decimal(value)
    except InvalidOperation:
        raise malformed(field, "a decimal string") from None
    if not number.is_finite():
        raise malformed(field, "a finite decimal")
    return number


def optional_moment(source: Mapping[str, Any], field: str) -> datetime | None:
    value = optional_text(source, field)
    if value is None:
        return None
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        raise malformed(field, "an RFC 3339 time") from None
    if moment.tzinfo is None:
        raise malformed(field, "a time with its zone")
    return moment
