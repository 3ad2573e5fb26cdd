"""What a month's shares are made from."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

from billing.accounts.tables import Account
from billing.club.tables import Contribution, TrainingManifest
from billing.club.tiers import DEFAULT_TABLES
from billing.invoice.draft import Payer, draft_invoice
from billing.prices import ModelPrice, RateCard
from billing.rating.rate import Booked
from billing.share.pool import Billed, highest_discount, partners_of, revenue_of, trained_on
from billing.share.rules import Revenue
from billing.share.split import Partner
from tests.billing.months import MID_OCTOBER, NOVEMBER, OCTOBER

LAST_INSTANT = datetime(2026, 10, 31, 14, 59, 59, 999999, tzinfo=UTC)
MONTH_END = datetime(2026, 10, 31, 15, 0, tzinfo=UTC)
ACCOUNTS = {
    name: Account(id=name, name=name, owner_group=f"group_{name}", created_at=MID_OCTOBER, timezone=zone)
    for name, zone in (("seoul", "Asia/Seoul"), ("utc", "UTC"))
}


def given(
    contribution_id: str,
    account_id: str,
    tokens: int,
    accepted_at: datetime = MID_OCTOBER,
    withdraws: str | None = None,
) -> Contribution:
    return Contribution(
        id=contribution_id,
        account_id=account_id,
        dataset="news",
        words=0,
        tokens=tokens,
        quality=Decimal("0.5"),
        accepted_at=accepted_at,
        withdraws=withdraws,
        created_at=accepted_at,
    )


def test_a_contribution_counts_if_it_was_accepted_before_the_month_ended_where_its_account_lives() -> None:
    rows = [
        given("1", "seoul", 10, LAST_INSTANT),
        given("2", "seoul", 100, MONTH_END),
        given("3", "utc", 1000, MONTH_END),
    ]
    assert partners_of(rows, ACCOUNTS, OCTOBER) == [
        Partner("seoul", "group_seoul", (("news", Decimal("5.0")),)),
        Partner("utc", "group_utc", (("news", Decimal("500.0")),)),
    ]


def test_a_withdrawn_contribution_counts_until_it_is_withdrawn_and_a_correction_in_its_place() -> None:
    first = given("1", "seoul", 10)
    withdrawal, correction = given("2", "seoul", -10, withdraws="1"), given("3", "seoul", 8, withdraws="1")
    assert partners_of([first, withdrawal], ACCOUNTS, OCTOBER) == []
    (corrected,) = partners_of([first, correction], ACCOUNTS, OCTOBER)
    assert corrected.weight() == 4
    later = given("4", "seoul", -10, MONTH_END, withdraws="1")
    assert partners_of([first, later], ACCOUNTS, OCTOBER)[0].weight() == 5


def test_the_highest_discount_is_that_of_the_highest_tier_reached_by_the_month_end() -> None:
    rows = [given("1", "seoul", 10**8), given("2", "utc", 10**9), given("3", "utc", 10**10, MONTH_END)]
    assert highest_discount(rows, ACCOUNTS, OCTOBER, DEFAULT_TABLES) == Decimal("0.30")
    assert highest_discount(rows[:2], ACCOUNTS, OCTOBER, DEFAULT_TABLES) == Decimal("0.20")
    assert highest_discount([], ACCOUNTS, OCTOBER, DEFAULT_TABLES) == 0


def test_a_manifest_of_a_snapshot_holds_for_the_model_that_sells_it_and_the_newest_wins() -> None:
    card = RateCard("card_1", MID_OCTOBER, {"solar-pro4": ModelPrice()}, {"solar-pro4-260806": "solar-pro4"})
    manifests = [
        TrainingManifest(id=str(i), model=model, datasets=datasets, created_at=MID_OCTOBER)
        for i, (model, datasets) in enumerate([("solar-pro4", ["news"]), ("solar-pro4-260806", ["law"])])
    ]
    models = {"solar-pro4", "solar-mini"}
    assert trained_on(models, manifests, [card], OCTOBER) == {"solar-pro4": frozenset({"law"})}
    assert trained_on({"solar-pro4"}, manifests, [], OCTOBER) == {"solar-pro4": frozenset({"news"})}


def test_a_manifest_restated_after_the_months_end_waits_for_the_next_but_a_first_one_holds_at_once() -> None:
    def stated(*rows: tuple[str, datetime]) -> list[TrainingManifest]:
        return [
            TrainingManifest(id=str(i), model="solar-pro4", datasets=[dataset], created_at=at)
            for i, (dataset, at) in enumerate(rows)
        ]

    restated = stated(("news", MID_OCTOBER), ("law", LAST_INSTANT), ("novels", MONTH_END))
    assert trained_on({"solar-pro4"}, restated, [], OCTOBER) == {"solar-pro4": frozenset({"law"})}
    assert trained_on({"solar-pro4"}, restated, [], NOVEMBER) == {"solar-pro4": frozenset({"novels"})}
    late = stated(("news", MONTH_END), ("law", MONTH_END))
    assert trained_on({"solar-pro4"}, late, [], OCTOBER) == {"solar-pro4": frozenset({"news"})}


def test_revenue_is_what_was_paid_and_usage_what_it_would_have_cost_at_list_price() -> None:
    booked = [
        Booked("solar-pro4", "input", "card_1", Decimal("0.30"), Decimal("0.10"), "2026-10", 3_000_000, 1_000_000),
        Booked("document-parse", "standard", "card_1", Decimal("0.01"), Decimal(0), "2026-10", 7),
    ]
    draft = draft_invoice(Payer("seoul"), "2026-10", booked, Decimal("0.61"), None)
    assert draft is not None
    assert revenue_of([Billed(ACCOUNTS["seoul"], draft.lines)]) == [
        Revenue("seoul", "group_seoul", "document-parse", Decimal("0.07"), Decimal("0.07")),
        Revenue("seoul", "group_seoul", "solar-pro4", Decimal("0.54"), Decimal("0.90")),
    ]
