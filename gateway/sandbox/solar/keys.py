"""The simulator's keys: good, blocked, without credit, and, for tests of an outage, with a fault that can be set and ended from outside.

A fault is `STATUS` or `STATUS:CODE` (each call with the key gets it: 503, 401:api_key_is_blocked, 429:usage_limit_exceeded), or `drop`
(the connection closes without an answer). Raises Refusal.
"""

import re
from dataclasses import dataclass, field

from gateway.sandbox.solar.refusals import Refusal

DROP = "drop"
_ERROR = re.compile(r"(?P<status>[45][0-9][0-9])(?::(?P<code>[a-z0-9_]{1,64}))?")


@dataclass(slots=True)
class Keys:
    """Which keys are good, which are known and refused, and which have a fault for now."""

    good: frozenset[str] = frozenset({"up_sandbox"})
    blocked: frozenset[str] = frozenset({"up_blocked"})
    without_credit: frozenset[str] = frozenset({"up_nocredit"})
    faults: dict[str, str] = field(default_factory=dict)

    def check(self, authorization: str) -> str:
        """The key of a Bearer header. Raises Refusal."""
        scheme, _, key = authorization.partition(" ")
        if scheme.lower() != "bearer" or not key:
            raise Refusal(401, "invalid_api_key", "API key is missing or not a Bearer token")
        if key in self.blocked:
            raise Refusal(401, "api_key_is_blocked", "API key is blocked")
        if key in self.without_credit:
            raise Refusal(403, "api_key_is_not_allowed", "API key is suspended due to insufficient credit")
        if key not in self.good:
            raise Refusal(401, "invalid_api_key", "API key is invalid")
        fault = _ERROR.fullmatch(self.faults.get(key, ""))
        if fault is not None:
            raise Refusal(int(fault["status"]), fault["code"], "simulated fault of this key")
        return key

    def drops(self, key: str) -> bool:
        """Is its connection closed without an answer, once the request is read?"""
        return self.faults.get(key) == DROP

    def set_fault(self, key: str, fault: str) -> bool:
        """From now on; False where it is no key, or no fault. An empty one ends it."""
        if key not in self.good or not (fault in ("", DROP) or _ERROR.fullmatch(fault)):
            return False
        self.faults[key] = fault
        return True
