"""Is a share plan safe? Pure.

What a plan must not allow (design.md section 5.7): that an owner group takes out more, as share + discount + grants at list,
than the list price of its own traffic; then traffic would be bought only to be paid for it.

The rule here, for one dollar of an owner group's traffic at list price. What grants cover takes out its whole list price, and
brings no revenue, so no share: 1 = 1. Of what is paid for, the discount takes out d. Its own pools pay the group nothing
(the split leaves own-group payers out), but two groups that pay for one another get each other's: at most the pool rate r of
what was paid, which is reckoned at list price, the dearest case. So d + r ≤ 1, for the highest discount d that any partner has,
keeps every group and every ring of groups at or below its own list price. Reckoned on net revenue the ring's bound is
d + r (1 − d) ≤ 1, which always holds; the stricter rule leaves a margin against rings and against discounts that rise.
Not counted: what a group is paid for traffic of strangers. That is what the share is for.

One condition covers every rule (`rules`), because under none of them does a dollar of traffic at list price put up more than r:
`pro_rata` puts up r of what was paid; `capped_pro_rata` at most that; `user_centric` r of what was paid in all, whichever model it
goes to; `scaled_user_prop` at most γ ≤ r of the list price, and never more than was paid. The last is the case in which
"reckoned at list price" is not only the dearest but the true one; grants raise a payer's usage there, but what it puts up stays within
what it paid, so grants + discount + share never pass the list price. And under none of them does traffic of a ring raise what others put
up by more than r of what the ring paid, less what it puts up itself (only `scaled_user_prop` couples payers, through γ).
All of it is exact decimal arithmetic; tests/billing/share/attacker.py searches for a counterexample.

Errors: `PlanUnsafe`.
"""

from __future__ import annotations

from decimal import Decimal

from billing.money import add


class PlanUnsafe(ValueError):
    """Under this plan an owner group could take out more than the list price of its own traffic."""

    def __init__(self, plan_id: str, pool_rate: Decimal, discount: Decimal) -> None:
        super().__init__(
            f"share plan {plan_id}: pool rate {pool_rate} + highest club discount {discount} is more than 1, so that "
            "partners could be paid more for their own traffic than its list price; post a plan with a lower pool_rate"
        )
        self.plan_id, self.pool_rate, self.discount = plan_id, pool_rate, discount


def check_plan(plan_id: str, pool_rate: Decimal, highest_discount: Decimal) -> None:
    """Raises `PlanUnsafe` unless pool rate and discount together leave the list price standing."""
    if add([pool_rate, highest_discount]) > 1:
        raise PlanUnsafe(plan_id, pool_rate, highest_discount)
