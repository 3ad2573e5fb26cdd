"""JSON schemas of structured output and tools: what Solar refuses in them, and a value that satisfies them. Pure.

Rules for structured output (upstage-api.md section 3, 2026-11-23): root object, every property required,
additionalProperties false on each object, depth at most 10, local $ref to $defs only, no recursion, and none of
allOf/oneOf/not/if/dependent*/patternProperties. Tool parameters are not held to them. `value_for` knows type, enum,
const, anyOf, $ref, properties, items and the plain bounds; it does not know `pattern` and `format`.
Raises Refusal (400).
"""

from hashlib import shake_128
from typing import Any

from gateway.sandbox.solar.refusals import bad_request

DEPTH_MAX = 10
ITEMS_MAX = 1_000
TEXT_MAX = 10_000
_FORBIDDEN = frozenset(
    {"allOf", "oneOf", "not", "if", "then", "else", "dependentRequired", "dependentSchemas", "dependencies"}
    | {"patternProperties"}
)
_PARAM = "response_format"
_MISSHAPEN = (
    AttributeError,
    LookupError,
    TypeError,
    ValueError,
    OverflowError,
)  # a keyword holds a value of another type


def _resolve(root: dict[str, Any], ref: Any) -> dict[str, Any]:
    name = ref.removeprefix("#/$defs/") if isinstance(ref, str) and ref.startswith("#/$defs/") else None
    target = root.get("$defs", {}).get(name) if name is not None else None
    if not isinstance(target, dict):
        raise bad_request(f"Invalid schema: $ref {ref!r} must point into #/$defs", _PARAM)
    return target


def _check_object(schema: dict[str, Any]) -> None:
    properties = schema.get("properties", {})
    if schema.get("additionalProperties") is not False:
        raise bad_request("Invalid schema: 'additionalProperties' must be false on every object", _PARAM)
    if not isinstance(properties, dict) or set(schema.get("required", ())) != set(properties):
        raise bad_request("Invalid schema: 'required' must name every property", _PARAM)


def _check(root: dict[str, Any], schema: Any, depth: int, open_refs: tuple[str, ...]) -> None:
    if not isinstance(schema, dict):
        raise bad_request("Invalid schema: a schema must be an object", _PARAM)
    if depth > DEPTH_MAX:
        raise bad_request(f"Invalid schema: more than {DEPTH_MAX} levels deep", _PARAM)
    if forbidden := sorted(_FORBIDDEN & schema.keys()):
        raise bad_request(f"Invalid schema: {forbidden[0]} is not permitted", _PARAM)
    if (ref := schema.get("$ref")) is not None:
        target = _resolve(root, ref)
        if ref in open_refs:
            raise bad_request(f"Invalid schema: {ref} refers to itself", _PARAM)
        _check(root, target, depth, (*open_refs, ref))
        return
    if schema.get("type") == "object":
        _check_object(schema)
        for inner in schema.get("properties", {}).values():
            _check(root, inner, depth + 1, open_refs)
    if "items" in schema:
        _check(root, schema["items"], depth + 1, open_refs)
    for choice in schema.get("anyOf", ()):
        _check(root, choice, depth + 1, open_refs)


def check_strict_schema(schema: Any) -> dict[str, Any]:
    """The schema, if structured output takes it."""
    if not isinstance(schema, dict) or schema.get("type") != "object":
        raise bad_request("Invalid schema: the root must be of type object", _PARAM)
    try:
        _check(schema, schema, 1, ())
    except _MISSHAPEN as broken:
        raise bad_request(f"Invalid schema: {broken}", _PARAM) from broken
    return schema


def _number(schema: dict[str, Any], drawn: int) -> int:
    lowest = int(schema.get("minimum", schema.get("exclusiveMinimum", -1) + 1))
    highest = int(schema.get("maximum", max(lowest, 100)))
    return lowest + drawn % max(1, highest - lowest + 1)


def _text(schema: dict[str, Any], drawn: int) -> str:
    text = ("solar", "gateway", "답변", "model")[drawn % 4]
    text = text.ljust(min(TEXT_MAX, int(schema.get("minLength", 0))), "x")
    return text[: int(schema.get("maxLength", len(text)))]


def value_for(schema: dict[str, Any], seed: bytes) -> Any:
    """A value that satisfies `schema`, drawn from `seed`. Deeper than DEPTH_MAX, or of unknown type: null."""
    try:
        return _draw(schema, seed, schema, 0)
    except _MISSHAPEN as broken:
        raise bad_request(f"Invalid schema: {broken}", _PARAM) from broken


def _draw(schema: dict[str, Any], seed: bytes, root: dict[str, Any], depth: int) -> Any:
    drawn = shake_128(seed).digest(1)[0]
    if depth > DEPTH_MAX:
        return None
    if "$ref" in schema:
        return _draw(_resolve(root, schema["$ref"]), seed, root, depth + 1)
    if "const" in schema:
        return schema["const"]
    if schema.get("enum"):
        return schema["enum"][drawn % len(schema["enum"])]
    if schema.get("anyOf"):
        return _draw(schema["anyOf"][0], seed, root, depth + 1)
    kind = schema.get("type")
    match kind[0] if isinstance(kind, list) and kind else kind:
        case "object":
            inner = schema.get("properties", {})
            return {key: _draw(inner[key], seed + key.encode(), root, depth + 1) for key in inner}
        case "array":
            length = min(ITEMS_MAX, max(int(schema.get("minItems", 0)), min(2, int(schema.get("maxItems", 2)))))
            items = schema.get("items", {"type": "string"})
            return [_draw(items, seed + bytes([number % 256]), root, depth + 1) for number in range(length)]
        case "string":
            return _text(schema, drawn)
        case "integer" | "number":
            return _number(schema, drawn)
        case "boolean":
            return drawn % 2 == 0
    return None
