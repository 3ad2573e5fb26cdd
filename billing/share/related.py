"""Accounts of different owner groups that seem to belong together: a suggestion to the operator, who sets the groups. Pure.

What is looked at: the same tax number, of the account or of its payee (letters and digits alone are compared); the same payment
destination of payees; and calls of the same sizes (model and all token counts) made by two accounts in a month, often enough. What is not
there to look at: the address that a call came from and the card that an invoice is paid by are not stored. Calls of the same
sizes can be chance (a popular prompt); the count is shown.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any, NamedTuple

SAME_CALLS_MIN = 20


class Known(NamedTuple):
    """What is known of an account that could tie it to another."""

    account_id: str
    owner_group: str
    tax_numbers: tuple[str, ...] = ()
    destinations: tuple[Mapping[str, Any], ...] = ()


@dataclass(frozen=True, slots=True)
class Suggestion:
    """Accounts that should perhaps be one owner group, and why: `tax_number`, `payment_destination` or `same_calls`."""

    account_ids: tuple[str, ...]
    owner_groups: tuple[str, ...]
    why: str
    detail: str


def suggested(
    accounts: Sequence[Known], alike: Iterable[Sequence[str]] = (), same_calls_min: int = SAME_CALLS_MIN
) -> list[Suggestion]:
    """Suggestions over accounts of different groups. `alike`: for each size of call that several accounts made, those accounts."""
    groups = {each.account_id: each.owner_group for each in accounts}
    numbers: dict[str, set[str]] = defaultdict(set)
    places: dict[str, set[str]] = defaultdict(set)
    for each in accounts:
        for number in each.tax_numbers:
            plain = "".join(letter for letter in number if letter.isalnum()).upper()
            if plain:
                numbers[plain].add(each.account_id)
        for destination in each.destinations:
            places[json.dumps(destination, sort_keys=True)].add(each.account_id)
    pairs: dict[tuple[str, str], int] = defaultdict(int)
    for several in alike:
        for pair in combinations(sorted(set(several) & groups.keys()), 2):
            pairs[pair] += 1
    found = [
        *(_suggest(ids, groups, "tax_number", f"all have the tax number {number}") for number, ids in numbers.items()),
        *(_suggest(ids, groups, "payment_destination", "all are paid at the same place") for ids in places.values()),
        *(
            _suggest(pair, groups, "same_calls", f"{count} sizes of calls that both made")
            for pair, count in pairs.items()
            if count >= same_calls_min
        ),
    ]
    told = [each for each in found if len(each.owner_groups) > 1]
    return sorted(told, key=lambda each: (each.why, each.account_ids))


def _suggest(ids: Iterable[str], groups: Mapping[str, str], why: str, detail: str) -> Suggestion:
    named = tuple(sorted(ids))
    return Suggestion(named, tuple(sorted({groups[each] for each in named})), why, detail)
