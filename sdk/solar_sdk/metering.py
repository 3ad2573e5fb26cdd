"""`with meter() as m:` counts what the calls begun inside it used and cost; nested meters count too.

A call belongs to the meters that were open where it began, and is counted there even if it ends later or elsewhere.
asyncio tasks inherit open meters by themselves. A new thread does not: hand it `m.wrap(function)`.
A call counts as soon as it is answered; its tokens and cost follow when they are told. What was never told (a stream
left early, an answer without a price) is not guessed: it stands in `unmeasured_calls`.
A meter may have a budget: a call that it may not cover is refused before it is sent. Each call that is under way counts for `call_cost_max`
until its price is told (and goes on counting so if it never is); where that is not given, for the dearest call so far. With a
`call_cost_max` that no call passes, the budget is never passed.
Units: tokens; cost is Decimal, exact. Raises MeterBudgetError; ValueError where costs of two currencies would have to be added.
"""

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from decimal import Decimal
from functools import wraps
from types import MappingProxyType
from typing import ParamSpec, TypeVar

from .answers.replies import Usage
from .errors import MeterBudgetError

_P = ParamSpec("_P")
_R = TypeVar("_R")


@dataclass(frozen=True)
class Sums:
    """What some calls came to."""

    calls: int = 0
    unmeasured_calls: int = 0
    input_tokens: int = 0
    cached_input_tokens: int = 0
    output_tokens: int = 0
    cost_by_currency: Mapping[str, Decimal] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def cost(self) -> Decimal:
        if len(self.cost_by_currency) > 1:
            raise ValueError(f"costs in {' and '.join(self.cost_by_currency)} do not add up: read cost_by_currency")
        return sum(self.cost_by_currency.values(), Decimal(0))

    @property
    def currency(self) -> str | None:
        return next(iter(self.cost_by_currency)) if len(self.cost_by_currency) == 1 else None


class Meter:
    """Counts calls, tokens and money; safe to read and to feed from many threads."""

    def __init__(self, budget: Decimal | None = None, call_cost_max: Decimal | None = None) -> None:
        self._lock = threading.Lock()
        self._by_model: dict[str, Sums] = {}
        self._budget = budget
        self._call_cost_max = call_cost_max
        self._dearest = Decimal(0)
        self._spent = Decimal(0)
        self._reserved = Decimal(0)

    @property
    def by_model(self) -> dict[str, Sums]:
        """The sums of each model, by the name it was asked for under."""
        with self._lock:
            return dict(self._by_model)

    @property
    def total(self) -> Sums:
        """All sums of one instant."""
        total = Sums()
        for sums in self.by_model.values():
            total = _added(total, sums)
        return total

    @property
    def calls(self) -> int:
        return self.total.calls

    @property
    def unmeasured_calls(self) -> int:
        return self.total.unmeasured_calls

    @property
    def input_tokens(self) -> int:
        return self.total.input_tokens

    @property
    def cached_input_tokens(self) -> int:
        return self.total.cached_input_tokens

    @property
    def output_tokens(self) -> int:
        return self.total.output_tokens

    @property
    def cost(self) -> Decimal:
        return self.total.cost

    @property
    def currency(self) -> str | None:
        return self.total.currency

    def wrap(self, function: Callable[_P, _R]) -> Callable[_P, _R]:
        """The function, counted by this meter in whichever thread it runs."""

        @wraps(function)
        def counted(*args: _P.args, **kwargs: _P.kwargs) -> _R:
            with _opened(self):
                return function(*args, **kwargs)

        return counted

    def add(self, model: str, sums: Sums) -> None:
        with self._lock:
            self._by_model[model] = _added(self._by_model.get(model, Sums()), sums)
            for cost in sums.cost_by_currency.values():
                self._spent += cost
                self._dearest = max(self._dearest, cost)

    @property
    def budget_left(self) -> Decimal | None:
        """What another call may cost; None where there is no budget."""
        with self._lock:
            return None if self._budget is None else self._budget - self._spent - self._reserved

    def reserve(self) -> Decimal:
        """Set aside what a call may cost; raises MeterBudgetError where the budget does not cover it."""
        with self._lock:
            amount = self._dearest if self._call_cost_max is None else self._call_cost_max
            if self._budget is not None:
                left = self._budget - self._spent - self._reserved
                if left < amount or left <= 0:
                    text = f"The budget of this meter does not cover another call: {left} left of {self._budget}."
                    raise MeterBudgetError(text, code="meter_budget_exceeded")
            self._reserved += amount
            return amount

    def release(self, amount: Decimal) -> None:
        """Give back what was set aside."""
        with self._lock:
            self._reserved -= amount

    def __repr__(self) -> str:
        return f"Meter({self.total})"


_open_meters: ContextVar[tuple[Meter, ...]] = ContextVar("solar_sdk_open_meters", default=())


@contextmanager
def meter(*, budget: Decimal | None = None, call_cost_max: Decimal | None = None) -> Iterator[Meter]:
    """Opens a meter for the calls begun inside the `with` block.

    budget         in the account's currency: a call that it does not cover raises MeterBudgetError instead of being sent
    call_cost_max  what one call costs at most; by default what the dearest call so far cost
    """
    with _opened(Meter(budget, call_cost_max)) as opened:
        yield opened


@contextmanager
def _opened(new: Meter) -> Iterator[Meter]:
    already = _open_meters.get()
    token = _open_meters.set(already if new in already else (*already, new))
    try:
        yield new
    finally:
        _open_meters.reset(token)


class Tally:
    """One call on the meters that were open where it began."""

    def __init__(self, model: str) -> None:
        self._model = model
        self._meters = _open_meters.get()
        self._reserved: list[tuple[Meter, Decimal]] = []
        try:
            for each in self._meters:
                self._reserved.append((each, each.reserve()))
        except MeterBudgetError:
            self._release()
            raise

    def never_answered(self) -> None:
        """The call failed before anyone answered: it costs nothing."""
        self._release()

    def answered(self) -> None:
        self._add(Sums(calls=1, unmeasured_calls=1))

    def told(self, usage: Usage | None, cost: Decimal | None, currency: str | None) -> None:
        spent = {} if cost is None else {currency or "": cost}
        if cost is not None:
            self._release()
        tokens = usage or Usage()
        self._add(
            Sums(
                unmeasured_calls=0 if usage is None or cost is None else -1,
                input_tokens=tokens.input_tokens,
                cached_input_tokens=tokens.cached_input_tokens,
                output_tokens=tokens.output_tokens,
                cost_by_currency=MappingProxyType(spent),
            )
        )

    def _release(self) -> None:
        for meter_, amount in self._reserved:
            meter_.release(amount)
        self._reserved.clear()

    def _add(self, sums: Sums) -> None:
        for open_meter in self._meters:
            open_meter.add(self._model, sums)


def _added(one: Sums, other: Sums) -> Sums:
    money = dict(one.cost_by_currency)
    for currency, cost in other.cost_by_currency.items():
        money[currency] = money.get(currency, Decimal(0)) + cost
    return replace(
        one,
        calls=one.calls + other.calls,
        unmeasured_calls=one.unmeasured_calls + other.unmeasured_calls,
        input_tokens=one.input_tokens + other.input_tokens,
        cached_input_tokens=one.cached_input_tokens + other.cached_input_tokens,
        output_tokens=one.output_tokens + other.output_tokens,
        cost_by_currency=MappingProxyType(money),
    )
