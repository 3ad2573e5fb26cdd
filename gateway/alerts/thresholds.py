"""Which thresholds of a budget are reached. Pure, exact.

Units: money in the currency of the budget; whole percents.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from billing.money import multiply

THRESHOLDS_PERCENT = (50, 80, 100)
USED_UP_FROM_PERCENT = 80
"""A refusal means that a budget is used up only from here on: before, the call was simply too large for it."""


def reached(spent: Decimal, budget: Decimal, *, refused: bool = False) -> Sequence[int]:
    """The thresholds that `spent` has reached; a budget of nothing has none.

    Calls are refused before they could pass a cap, so that hardly any is ever spent to the last digit: where what is left of a budget no
    longer covered a call, it counts as used up.
    """
    if budget <= 0:
        return ()
    percents = [percent for percent in THRESHOLDS_PERCENT if at_least(spent, budget, percent)]
    if refused and 100 not in percents and at_least(spent, budget, USED_UP_FROM_PERCENT):
        percents.append(100)
    return percents


def at_least(spent: Decimal, budget: Decimal, percent: int) -> bool:
    return multiply(spent, 100) >= multiply(budget, percent)
