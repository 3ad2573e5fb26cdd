"""Structured output: a type → the JSON schema that Solar takes, and the model's text → a value of that type.

Types: dataclasses (read here), pydantic models and msgspec structs (by their own libraries, where the caller has them: a class of theirs
cannot exist otherwise, so nothing is imported). Solar's rules (upstage-api.md section 3, 2026-11-23): the root is an object, every property
is required, `additionalProperties` is false on every object, no recursion. An optional field is `T | None`, told as null.
Raises ConfigurationError where a type cannot be asked for, MalformedAnswerError where the text is not of the type.
"""

import dataclasses
import enum
import json
import sys
import types
from collections.abc import Mapping
from typing import Any, Literal, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from ..errors import ConfigurationError, MalformedAnswerError
from .wire import Json

_T = TypeVar("_T")
_PLAIN: Mapping[object, str] = {str: "string", int: "integer", float: "number", bool: "boolean", type(None): "null"}
_DEPTH_MAX = 10


def to_wire_response_format(into: type) -> Json:
    """The `response_format` that asks for a value of this type."""
    schema = _closed(_foreign_schema(into) or _schema(into, ()))
    if schema.get("type") != "object":
        raise ConfigurationError(
            f"{into.__name__} is not an object: use a dataclass, a pydantic model or a msgspec struct."
        )
    return {"type": "json_schema", "json_schema": {"name": into.__name__, "strict": True, "schema": schema}}


def from_wire_text(text: str, into: type[_T]) -> _T:
    """The value that the model wrote."""
    try:
        validate = getattr(into, "model_validate_json", None)
        if validate is not None:
            return cast("_T", validate(text))
        if hasattr(into, "__struct_fields__"):
            return cast("_T", sys.modules["msgspec"].json.decode(text.encode(), type=into))
        return cast("_T", _value(json.loads(text), into, "answer"))
    except (ValueError, TypeError) as error:
        raise MalformedAnswerError(f"The answer is not a {into.__name__}: {error}", code="malformed_output") from None


def _foreign_schema(into: type) -> Json | None:
    if hasattr(into, "model_json_schema"):
        return dict(into.model_json_schema())
    if hasattr(into, "__struct_fields__"):
        schema: Json = sys.modules["msgspec"].json.schema(into)
        definitions = schema.get("$defs", {})
        root = definitions.pop(schema["$ref"].rpartition("/")[2]) if "$ref" in schema else schema
        return {**root, **({"$defs": definitions} if definitions else {})}
    return None


def _schema(kind: Any, above: tuple[object, ...]) -> Json:
    if kind in _PLAIN:
        return {"type": _PLAIN[kind]}
    if len(above) >= _DEPTH_MAX or kind in above:
        raise ConfigurationError(f"{kind!r} is nested too deeply: Solar takes {_DEPTH_MAX} levels and no recursion.")
    origin, arguments, below = get_origin(kind), get_args(kind), (*above, kind)
    if origin in (Union, types.UnionType):
        return {"anyOf": [_schema(argument, below) for argument in arguments]}
    if origin is Literal:
        return {"enum": list(arguments)}
    if origin in (list, tuple) and arguments and (origin is list or arguments[1:] == (...,)):
        return {"type": "array", "items": _schema(arguments[0], below)}
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        return {"enum": [member.value for member in kind]}
    if dataclasses.is_dataclass(kind) and isinstance(kind, type):
        hints = get_type_hints(kind)
        return {
            "type": "object",
            "properties": {f.name: _schema(hints[f.name], below) for f in dataclasses.fields(kind)},
        }
    raise ConfigurationError(
        f"{kind!r} cannot be asked for: use str, int, float, bool, None, list, Literal, Enum, dataclasses."
    )


def _closed(schema: Any) -> Any:
    """Solar's rules on every object of a schema; annotations that it may refuse left out."""
    if isinstance(schema, list):
        return [_closed(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    closed = {name: _closed(part) for name, part in schema.items() if name not in ("title", "default")}
    if "properties" in schema:
        closed["properties"] = {name: _closed(part) for name, part in schema["properties"].items()}
    if schema.get("type") == "object":
        closed["required"] = list(schema.get("properties", {}))
        closed["additionalProperties"] = False
    return closed


def _value(value: Any, kind: Any, where: str) -> Any:
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        return _value_of_one(value, arguments, where)
    if origin is Literal:
        return _checked(value, value in arguments, where)
    if origin in (list, tuple):
        _checked(value, isinstance(value, list), where)
        return origin(_value(part, arguments[0], f"{where}[{at}]") for at, part in enumerate(value))
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        return kind(value)
    if dataclasses.is_dataclass(kind) and isinstance(kind, type):
        _checked(value, isinstance(value, dict), where)
        hints = get_type_hints(kind)
        missing = [name for name in hints if name not in value]
        _checked(value, not missing, f"{where} (without {', '.join(missing)})")
        return kind(**{name: _value(value[name], hint, f"{where}.{name}") for name, hint in hints.items()})
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    return _checked(value, type(value) is kind, where)


def _value_of_one(value: Any, kinds: tuple[Any, ...], where: str) -> Any:
    for kind in kinds:
        try:
            return _value(value, kind, where)
        except ValueError:
            continue
    return _checked(value, False, where)


def _checked(value: _T, good: bool, where: str) -> _T:
    if not good:
        raise ValueError(f"{where} is {type(value).__name__}")
    return value
