"""What Solar would refuse although it means nothing to it, taken out; what has another name there, renamed. Pure, and data first.

Chat is strict, responses is lax (upstage-api.md sections 3, 4 and 9, 2026-11-23), so each endpoint has its own rules. Nothing that
alters meaning is changed silently: whatever is changed is named for `x-solar-changed`, and whatever has a meaning that Solar does not
offer (logit_bias, seed, n > 1, images) is left in for Solar to refuse.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from gateway.meter.sizes import effort_for

Fields = dict[str, Any]
NEVER = re.compile(rb"(?!)")


@dataclass(frozen=True, slots=True)
class Rules:
    """What to change in one endpoint's requests."""

    drop: tuple[str, ...] = ()
    """Fields for the caller's own bookkeeping, which Solar refuses by name."""
    drop_empty: tuple[str, ...] = ()
    """Lists that Solar refuses when they are empty."""
    drop_strict: bool = False
    """`strict` on a tool's function."""
    roles: tuple[tuple[str, str], ...] = ()
    clamp_effort: bool = False

    @property
    def markers(self) -> re.Pattern[bytes]:
        """A body in which this is not found needs no look."""
        names = [*self.drop, *self.drop_empty, *(role for role, _ in self.roles)]
        names += ["strict"] if self.drop_strict else []
        names += ["reasoning_effort"] if self.clamp_effort else []
        # As a value "user" is a role in nearly every request, which is no reason to look closer.
        spelled = [f'{name}"' if name != "user" else r'user"\s*:' for name in names]
        return re.compile(f'"(?:{"|".join(spelled)})'.encode()) if names else NEVER


CHAT_RULES = Rules(
    drop=("store", "metadata", "service_tier", "user", "safety_identifier"),
    drop_empty=("tools",),
    drop_strict=True,
    roles=(("developer", "system"),),
    clamp_effort=True,
)
RESPONSES_RULES = Rules(drop=("store",), drop_empty=("tools",))
MESSAGES_RULES = Rules(drop=("metadata", "service_tier"), drop_empty=("tools",))
NO_RULES = Rules()

_decode = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


def sanitize(rules: Rules, body: bytes, model: str) -> tuple[bytes, tuple[str, ...]]:
    """(body, names of what was changed); the very same body where nothing was. Raises what msgspec raises for no object.

    A body in which the rules' `markers` are not found need not be looked at.
    """
    fields: Mapping[str, msgspec.Raw] = _decode(body)
    kept: Fields = dict(fields)
    changed: list[str] = []
    for name in rules.drop:
        if name in kept and not (name == "store" and rules is RESPONSES_RULES and bytes(kept[name]) == b"true"):
            del kept[name]
            changed.append(name)
    for name in rules.drop_empty:
        if name in kept and bytes(kept[name]).translate(None, b" \t\r\n") == b"[]":
            del kept[name]
            changed.append(name)
    if rules.drop_strict and "tools" in kept:
        _change(kept, "tools", _without_strict, "tools.function.strict", changed)
    if rules.roles and "messages" in kept:
        roles = dict(rules.roles)
        _change(kept, "messages", lambda messages: _with_roles(messages, roles), "messages.role", changed)
    if rules.clamp_effort and "reasoning_effort" in kept:
        _clamp(kept, model, changed)
    return (msgspec.json.encode(kept), tuple(changed)) if changed else (body, ())


def _change(kept: Fields, name: str, change: Any, says: str, changed: list[str]) -> None:
    value = msgspec.json.decode(kept[name])
    if change(value):
        kept[name] = value
        changed.append(says)


def _without_strict(tools: Any) -> bool:
    """True where a `strict` was taken out."""
    found = False
    for tool in tools if isinstance(tools, list) else ():
        function = tool.get("function") if isinstance(tool, dict) else None
        if isinstance(function, dict) and "strict" in function:
            del function["strict"]
            found = True
    return found


def _with_roles(messages: Any, roles: Mapping[str, str]) -> bool:
    """True where a role was renamed."""
    found = False
    for message in messages if isinstance(messages, list) else ():
        role = message.get("role") if isinstance(message, dict) else None
        if isinstance(role, str) and role in roles:
            message["role"] = roles[role]
            found = True
    return found


def _clamp(kept: Fields, model: str, changed: list[str]) -> None:
    effort = msgspec.json.decode(kept["reasoning_effort"])
    if effort is not None and not isinstance(effort, str):
        return
    nearest = effort_for(model, "none" if effort is None else effort)
    if nearest is None:
        del kept["reasoning_effort"]
    elif nearest != effort and effort is not None:
        kept["reasoning_effort"] = nearest
    else:
        return
    changed.append("reasoning_effort")
