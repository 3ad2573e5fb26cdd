"""What the script is told of a call, and what it says of one. Pure.

Counts and prices go to the script in one order: output, input, cached input (as grants pay), standard pages, enhanced pages. Units:
tokens, pages, pico-USD; instants in Unix ms.
"""

from __future__ import annotations

from typing import Any

from msgspec import structs

from billing.ledger.record import ORPHANED, UsageRecord, to_wire_counts, to_wire_record
from billing.usage import GRANT_ORDER, NOTHING, Usage, less
from gateway.call import Call, Outcome, RateLimit

_MS = 1_000_000
UNDRAINED_MS = 86_400_000
"""How long a settled call is known by its id while its record is not in the ledger; the drain shortens it."""
_BEYOND_CAP, _BEYOND_HOLD = "beyond the cap", "beyond its hold"


def from_wire_usage(counts: list[int]) -> Usage:
    """Counts in the script's order, or none → Usage."""
    if not counts:
        return NOTHING
    output, fresh, cached, standard, enhanced = counts
    return Usage(fresh, cached, output, standard, enhanced)


def to_wire_bound(call: Call) -> tuple[int, int, int, int, int]:
    """What the call can become at most: (output tokens, prompt tokens, pico-USD an output token, a prompt token, for all pages)."""
    output_pico, fresh, cached, standard, enhanced = call.price.pico
    output = call.output_tokens_max if call.output_tokens_first is None else call.output_tokens_first
    return output, call.prompt_tokens_max, output_pico, max(fresh, cached), call.pages_max * max(standard, enhanced)


def to_wire_place(call: Call) -> tuple[tuple[RateLimit, ...], int, list[tuple[str, int]]]:
    """Which limits and caps a call counts against, and as how many tokens: (rates, tokens, money)."""
    place = call.placed
    return place.rates, call.prompt_tokens_max + call.output_tokens_expected, place.money


def to_wire_admission(call: Call, prices_version: int, lease_ms: int) -> tuple[Any, ...]:
    """The operation that admits a call (`holds.lua`, A)."""
    caller, place = call.caller, call.place or call.placed
    best, pages = call.prompt_tokens_best, call.pages_best
    orphan = record_of(call, Outcome(Usage(best, standard_pages=pages), estimated_reason=ORPHANED))
    return (
        "A",
        call.id.hex,
        caller.account_id,
        caller.epoch,
        prices_version,
        lease_ms,
        place.rates,
        call.prompt_tokens_max + call.output_tokens_expected,
        place.money,
        to_wire_bound(call),
        # What the sweep books if this worker dies once the request was sent: the best count of what went in, marked as estimated.
        (call.accepted_ns // _MS, (0, best, 0, pages, 0), call.price.pico, to_wire_record(orphan)),
        call.output_tokens_min,
    )


def to_wire_settlement(call: Call, outcome: Outcome, upstream_key: str | None, held_nano_usd: int) -> tuple[Any, ...]:
    """The operation that settles a call (`holds.lua`, S)."""
    place = call.place or call.placed
    fresh, cached, output, standard, enhanced = to_wire_counts(outcome.usage)
    record = record_of(call, outcome, upstream_key)
    return (
        "S",
        record.call_id,
        call.caller.account_id,
        place.rates,
        call.prompt_tokens_max + call.output_tokens_expected,
        place.money,
        call.accepted_ns // _MS,
        (output, fresh, cached, standard, enhanced),
        call.price.pico,
        to_wire_record(record),
        UNDRAINED_MS,
        held_nano_usd,
    )


def offline_bound_nano(call: Call) -> int:
    """What a call can cost at most where nobody knows what grants pay, rounded up."""
    output, prompt, output_pico, prompt_pico, pages_pico = to_wire_bound(call)
    return -(-(output * output_pico + prompt * prompt_pico + pages_pico) // 1000)


def with_counts(record: UsageRecord, served: list[int], absorbed: list[int]) -> UsageRecord:
    """A record with what the script decided of its counts: what was served (where it knew better), and which part of that is ours."""
    if not served and not absorbed:
        return record
    usage, part = from_wire_usage(served) if served else Usage(*record.usage), from_wire_usage(absorbed)
    if part is NOTHING:
        return structs.replace(record, usage=to_wire_counts(usage))
    return structs.replace(
        record,
        usage=to_wire_counts(less(usage, part)),
        absorbed=to_wire_counts(part),
        absorbed_reason=_BEYOND_HOLD if record.is_orphan else _BEYOND_CAP,
    )


def granted_usage(taken: list[tuple[str, int, int]]) -> Usage:
    """The script's split [(grant, kind, tokens)] → what grants paid for; kinds count from 1 in `GRANT_ORDER`."""
    if not taken:
        return NOTHING
    tokens = dict.fromkeys(GRANT_ORDER, 0)
    for _, kind, count in taken:
        tokens[GRANT_ORDER[kind - 1]] += count
    return Usage(tokens["input"], tokens["cached_input"], tokens["output"])


def record_of(call: Call, outcome: Outcome, upstream_key: str | None = None) -> UsageRecord:
    """What the ledger will know of a call."""
    price, caller, place = call.price, call.caller, call.place or call.placed
    return UsageRecord(  # by place, in the order of the record: by name takes five times as long, twice a call
        (call.id if call.continues is None else call.continues).hex,
        caller.account_id,
        caller.key_id,
        call.accepted_ns,
        place.month,
        call.endpoint,
        call.model_asked,
        price.model,
        outcome.model_answered,
        price.card_id,
        price.texts,
        str(price.discount),
        price.discount_reason,
        to_wire_counts(outcome.usage),
        outcome.estimated_reason,
        call.streamed,
        call.attempts_before + outcome.attempts,
        buy_prices=price.buy_texts,
        zone=caller.zone,
        upstream_key=upstream_key,
    )
