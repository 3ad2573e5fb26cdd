"""What Stripe takes: form bodies read into values, and held against the official library's own request types (`stripe.params`).

A field that the library does not know, a missing one, a value outside its list or of another kind raises `BadField`, as Stripe refuses
it with 400 `parameter_unknown`, `parameter_missing` or `parameter_invalid_…`.
"""

from __future__ import annotations

import sys
import types
from decimal import Decimal, InvalidOperation
from typing import Any, ForwardRef, Literal, NotRequired, Union, get_args, get_origin
from urllib.parse import parse_qsl

from stripe import RequestOptions
from typing_extensions import is_typeddict

Form = dict[str, Any]


class BadField(ValueError):
    """A request that Stripe would not take."""

    def __init__(self, message: str, code: str, param: str) -> None:
        super().__init__(message)
        self.code, self.param = code, param


def read_form(text: str) -> Form:
    """`a[b][0][c]=1` → {"a": {"b": {"0": {"c": "1"}}}}: lists are told apart from objects by their type only."""
    form: Form = {}
    for name, value in parse_qsl(text, keep_blank_values=True, strict_parsing=bool(text)):
        first, _, rest = name.partition("[")
        keys = [first, *(key.rstrip("]") for key in rest.split("[") if rest)]
        inner = form
        for key in keys[:-1]:
            inner = inner.setdefault(key, {})
        if keys[-1] in inner:
            raise BadField(f"Received {name} twice", "parameter_invalid", name)
        inner[keys[-1]] = value
    return form


def checked(form: Form, params: Any) -> Form:
    """The form with its values as what their types say: whole numbers, booleans, lists. Raises `BadField`."""
    return _object(form, params, "")


def _fields(params: Any) -> dict[str, Any]:
    """The fields of a request type, without what the library itself takes for the request (its key, its version)."""
    options = set(RequestOptions.__annotations__)
    return {name: hint for name, hint in params.__annotations__.items() if name not in options}


def _object(form: Any, params: Any, where: str) -> Form:
    if not isinstance(form, dict):
        raise BadField(f"Invalid object: {where}", "parameter_invalid", where)
    fields = _fields(params)
    for name in form:
        if name not in fields:
            raise BadField(f"Received unknown parameter: {_at(where, name)}", "parameter_unknown", _at(where, name))
    read = {}
    for name, hint in fields.items():
        optional = get_origin(hint) is NotRequired
        kind = get_args(hint)[0] if optional else hint
        if name in form:
            read[name] = _value(form[name], _resolved(kind, params), params, _at(where, name))
        elif not optional:
            raise BadField(f"Missing required param: {_at(where, name)}.", "parameter_missing", _at(where, name))
    return read


def _resolved(kind: Any, params: Any) -> Any:
    """What an annotation means: the library writes most of them as text, which names things of its own module."""
    if isinstance(kind, ForwardRef):
        kind = kind.__forward_arg__
    if isinstance(kind, str):
        return eval(kind, dict(vars(sys.modules[params.__module__])))  # noqa: S307 - an annotation in the library's source
    return kind


_EMPTIED = {("CustomerUpdateParams", "email")}
"""What Stripe lets be emptied though the library's types do not say so (stripe-node#1834, a maintainer, 2023-08-08; read 2026-11)."""


def _value(given: Any, kind: Any, params: Any, where: str) -> Any:
    if given == "" and (params.__name__, where) in _EMPTIED:
        return ""
    origin = get_origin(kind)
    if origin in (Union, types.UnionType):
        return _either(given, [_resolved(option, params) for option in get_args(kind)], params, where)
    if origin is Literal:
        if given in get_args(kind):
            return given
        raise BadField(
            f"Invalid {where}: must be one of {', '.join(get_args(kind))}", "parameter_invalid_string_enum", where
        )
    if origin is list:
        return _list(given, _resolved(get_args(kind)[0], params), params, where)
    if origin is dict:
        if isinstance(given, dict) and all(isinstance(value, str) for value in given.values()):
            return dict(given)
        raise BadField(f"Invalid hash: {where}", "parameter_invalid", where)
    if is_typeddict(kind):
        return _object(given, kind, where)
    return _plain(given, kind, where)


def _list(given: Any, kind: Any, params: Any, where: str) -> list[Any]:
    if not isinstance(given, dict) or set(given) != {str(i) for i in range(len(given))}:
        raise BadField(f"Invalid array: {where}", "parameter_invalid", where)
    return [_value(given[str(i)], kind, params, f"{where}[{i}]") for i in range(len(given))]


def _either(given: Any, options: list[Any], params: Any, where: str) -> Any:
    """A list of words beside `str` is in truth a list of words; an empty string beside something else unsets it."""
    words = [word for option in options if get_origin(option) is Literal for word in get_args(option) if word != ""]
    if given == "" and any(get_origin(option) is Literal and "" in get_args(option) for option in options):
        return ""
    if words and str in options:
        options = [option for option in options if option is not str]
    faults = []
    for option in options:
        try:
            return _value(given, option, params, where)
        except (BadField, TypeError) as error:
            faults.append(error)
    raise next((fault for fault in faults if isinstance(fault, BadField)), faults[0])


def _plain(given: Any, kind: Any, where: str) -> Any:
    if not isinstance(given, str):
        raise BadField(f"Invalid {where}", "parameter_invalid", where)
    if kind is bool:
        if given not in ("true", "false"):
            raise BadField(f"Invalid boolean: {given}", "parameter_invalid", where)
        return given == "true"
    if kind is int:
        digits = given.removeprefix("-")
        if not (digits.isascii() and digits.isdigit()):
            raise BadField(f"Invalid integer: {given}", "parameter_invalid_integer", where)
        return int(given)
    if kind is Decimal:
        try:
            return Decimal(given)
        except InvalidOperation:
            raise BadField(f"Invalid decimal: {given}", "parameter_invalid_decimal", where) from None
    if given == "":
        raise BadField(f"You passed an empty string for '{where}'.", "parameter_invalid_empty", where)
    return given


def _at(where: str, name: str) -> str:
    return f"{where}[{name}]" if where else name
