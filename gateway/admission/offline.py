"""How much one worker may let through while Redis is away: its share of the exposure of each account, and of its rates. Pure.

The exposure of an account is what it may cost beyond what Redis knows of; `share = exposure / workers_max` of it is each worker's own,
so that no two ever need to talk. Every counter that a call moves (a scope: the account's month, the key's month, the prepaid
balance) has one: begun anew whenever Redis admits a call of that scope, less what this worker let through and Redis was not told yet.

Why no cap is passed by more than the exposure: let τ be the last instant at which Redis admitted a call of a scope. All that Redis
knew then was inside the cap. What came later was let through on shares begun up to τ, each of them bounded together with what was still
untold at its beginning; there are at most `workers_max`. What Redis is told after τ stays counted here, and frees nothing until the
next τ.
A scope that Redis never admitted, or under other terms (another epoch), has no share.

Of a limit each worker keeps its part as well: limit ÷ workers that live, rounded up, in requests and tokens a minute and in calls at once.
What the worker admitted through Redis in the last minute is in its part. So all together admit at most the limit and one for each
worker (of tokens: a call), and in the first minute of an outage at most once more what they had admitted before it.
Tokens count as they are estimated: what a call used less is given back only through Redis.
Units: nano-USD, tokens, seconds on a clock that is handed in.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterable
from dataclasses import dataclass, field

from gateway.call import RateLimit

Scope = tuple[str, str]
"""(account id, the scope's name within it)"""


@dataclass(slots=True)
class _Share:
    epoch: int
    spent: int = 0
    """Let through since Redis last admitted a call of this scope, with what was untold then."""
    untold: int = 0
    """Let through, and not in Redis yet: open calls at their upper bound, ended ones at their cost."""


class Shares:
    """The shares of one worker; `share_nano_usd` 0 lets nothing through."""

    def __init__(self, share_nano_usd: int, *, scopes_max: int) -> None:
        self.share_nano_usd = share_nano_usd
        self._scopes_max = scopes_max
        self._shares: OrderedDict[Scope, _Share] = OrderedDict()

    def renew(self, scopes: Iterable[Scope], epoch: int) -> None:
        """Redis has just admitted a call of these scopes."""
        if self.share_nano_usd == 0:
            return
        for scope in scopes:
            share = self._shares.get(scope)
            if share is None:
                self._shares[scope] = _Share(epoch)
                self._forget_one_too_many()
            else:
                share.epoch, share.spent = epoch, share.untold
                self._shares.move_to_end(scope)

    def covers(self, scopes: Iterable[Scope], epoch: int, amount: int) -> bool:
        """Would a call that costs at most this be let through?"""
        shares = [self._shares.get(scope) for scope in scopes]
        return all(
            share is not None and share.epoch == epoch and share.spent + amount <= self.share_nano_usd
            for share in shares
        )

    def take(self, scopes: Iterable[Scope], epoch: int, amount: int) -> bool:
        """Let a call through that costs at most this; False where a share does not cover it."""
        scopes = list(scopes)
        if not self.covers(scopes, epoch, amount):
            return False
        for scope in scopes:
            share = self._shares[scope]
            share.spent += amount
            share.untold += amount
        return True

    def grow(self, scopes: Iterable[Scope], amount: int) -> bool:
        """Let a call that was let through cost so much more."""
        shares = [share for share in map(self._shares.get, scopes) if share is not None]
        if not shares or any(share.spent + amount > self.share_nano_usd for share in shares):
            return False
        for share in shares:
            share.spent += amount
            share.untold += amount
        return True

    def ended(self, scopes: Iterable[Scope], amount: int, cost: int) -> None:
        """A call that was let through has ended: of its upper bound, this much was needed (0: it never was served)."""
        for share in map(self._shares.get, scopes):
            if share is not None:
                share.spent -= max(0, amount - cost)
                share.untold += cost - amount

    def owe(self, scopes: Iterable[Scope], cost: int) -> None:
        """What Redis does not know of, without having been let through here: a call that it admitted and could not be told the end of,
        or what a dead process has left."""
        for scope in scopes:
            share = self._shares.setdefault(scope, _Share(epoch=-1))
            share.spent += cost
            share.untold += cost

    def told(self, scopes: Iterable[Scope], cost: int) -> None:
        """Redis knows of it now."""
        for share in map(self._shares.get, scopes):
            if share is not None:
                share.untold = max(0, share.untold - cost)

    def _forget_one_too_many(self) -> None:
        """The scope least lately admitted, if nothing depends on it."""
        if len(self._shares) > self._scopes_max:
            oldest = next(iter(self._shares))
            if self._shares[oldest].untold == 0:
                del self._shares[oldest]
            else:
                self._shares.move_to_end(oldest)


_WINDOW_S = 60


@dataclass(slots=True)
class _Window:
    """What one worker admitted of a scope in the last minute, second by second: [second, requests, tokens]."""

    requests: int = 0
    tokens: int = 0
    seconds: deque[list[int]] = field(default_factory=deque)

    def forget(self, now_s: int) -> None:
        while self.seconds and self.seconds[0][0] < now_s - _WINDOW_S:
            _, requests, tokens = self.seconds.popleft()
            self.requests -= requests
            self.tokens -= tokens

    def add(self, now_s: int, tokens: int) -> None:
        if not self.seconds or self.seconds[-1][0] != now_s:
            self.seconds.append([now_s, 0, 0])
        newest = self.seconds[-1]
        newest[1] += 1
        newest[2] += tokens
        self.requests += 1
        self.tokens += tokens


class RateShares:
    """The parts of all limits that are one worker's own."""

    def __init__(self, *, scopes_max: int) -> None:
        self._scopes_max = scopes_max
        self._windows: OrderedDict[str, _Window] = OrderedDict()

    def saw(self, rates: Iterable[RateLimit], tokens: int, now_s: float) -> None:
        """A call was admitted, by Redis or here."""
        second = int(now_s)
        for rate in rates:
            window = self._windows.get(rate.scope)
            if window is None:
                window = self._windows[rate.scope] = _Window()
                if len(self._windows) > self._scopes_max:
                    self._windows.popitem(last=False)
            else:
                self._windows.move_to_end(rate.scope)
            window.forget(second)
            window.add(second, min(tokens, rate.tokens_per_minute))

    def refuses(
        self, rates: Iterable[RateLimit], tokens: int, open_calls: dict[str, int], workers: int, now_s: float
    ) -> tuple[str, str, int] | None:
        """(what is used up, of which scope, how many ms to wait) where this worker's part of a limit leaves no room for a call."""
        second = int(now_s)
        for rate in rates:
            window = self._windows.get(rate.scope) or _Window()
            window.forget(second)
            limits = rate.requests_per_minute, rate.tokens_per_minute, rate.concurrency
            requests, all_tokens, at_once = (-(-limit // workers) for limit in limits)
            wait_ms = 1000 * (window.seconds[0][0] + _WINDOW_S + 1 - second) if window.seconds else 1000
            if requests and window.requests >= requests:
                return "requests", rate.scope, wait_ms
            if all_tokens and window.tokens and window.tokens + min(tokens, all_tokens) > all_tokens:
                return "tokens", rate.scope, wait_ms
            if at_once and open_calls.get(rate.scope, 0) >= at_once:
                return "concurrency", rate.scope, 1000
        return None
