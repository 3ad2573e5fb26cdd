"""Reads one decoded JSON object field by field, strictly; absent and null are both None. Pure.

Raises Refusal: 400 invalid_request_body with the field as `param` (upstage-api.md section 6, 2026-11-23).
"""

from typing import Any

import msgspec

from gateway.sandbox.solar.refusals import bad_request


def decode_object(body: bytes) -> dict[str, Any]:
    """The body as a JSON object."""
    try:
        decoded = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as broken:
        raise bad_request(f"We could not parse the JSON body of your request: {broken}") from broken
    if not isinstance(decoded, dict):
        raise bad_request("The body of your request must be a JSON object")
    return decoded


class Fields:
    """A JSON object and where it sits in the request."""

    def __init__(self, values: dict[str, Any], where: str = "") -> None:
        self.values = values
        self._where = where

    def _name(self, key: str) -> str:
        return f"{self._where}.{key}" if self._where else key

    def refuse_unknown(self, known: frozenset[str]) -> None:
        """Upstage's answer to an argument it does not list (seen with `store`)."""
        if unknown := [key for key in self.values if key not in known]:
            raise bad_request(f"Unrecognized request arguments supplied: {', '.join(sorted(unknown))}", unknown[0])

    def text(self, key: str) -> str | None:
        """A string."""
        value = self.values.get(key)
        if value is not None and not isinstance(value, str):
            raise bad_request(f"'{self._name(key)}' must be a string", self._name(key))
        return value

    def required_text(self, key: str) -> str:
        """A string that must be there and not be empty."""
        if not (value := self.text(key)):
            raise bad_request(f"'{self._name(key)}' is a required property", self._name(key))
        return value

    def flag(self, key: str) -> bool | None:
        """True or false."""
        value = self.values.get(key)
        if value is not None and not isinstance(value, bool):
            raise bad_request(f"'{self._name(key)}' must be a boolean", self._name(key))
        return value

    def whole(self, key: str, lowest: int, highest: int) -> int | None:
        """A whole number within bounds."""
        value = self.values.get(key)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int) or not lowest <= value <= highest:
            raise bad_request(f"'{self._name(key)}' must be a whole number from {lowest} to {highest}", self._name(key))
        return value

    def number(self, key: str, lowest: float, highest: float) -> float | None:
        """A number within bounds."""
        value = self.values.get(key)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int | float) or not lowest <= value <= highest:
            raise bad_request(f"'{self._name(key)}' must be a number from {lowest:g} to {highest:g}", self._name(key))
        return float(value)

    def items(self, key: str) -> list[Any] | None:
        """An array that, where given, is not empty."""
        value = self.values.get(key)
        if value is not None and (not isinstance(value, list) or not value):
            raise bad_request(f"'{self._name(key)}' must be an array with at least one item", self._name(key))
        return value

    def inner(self, key: str) -> "Fields | None":
        """An object."""
        value = self.values.get(key)
        if value is None:
            return None
        return as_fields(value, self._name(key))


def as_fields(value: Any, where: str) -> Fields:
    """An object found at `where`."""
    if not isinstance(value, dict):
        raise bad_request(f"'{where}' must be an object", where)
    return Fields(value, where)
