"""The account's own view: the contract's shapes become typed values, money as Decimal, unknown fields kept in raw."""

from datetime import UTC, date, datetime
from decimal import Decimal

import pytest

import solar_sdk
from solar_sdk import AsyncSolar, Limits, MonthToDate, Solar

from .answers import ACCOUNT, INVOICE, ROW, SHARE, TOTAL, page
from .true_server import TrueServer, whole


def test_usage_is_asked_by_dates_and_group_and_comes_typed(server: TrueServer, client: Solar) -> None:
    server.play(whole({"data": [ROW], "total": TOTAL, "currency": "USD", "complete": True}))
    report = client.usage(from_=date(2026, 10, 1), to="2026-11-01", group_by="model")
    assert server.requests[0].target == "/v1/usage?from=2026-10-01&to=2026-11-01&group_by=model"
    assert (report.data[0].group, report.data[0].cost, report.total.group) == ("solar-pro4", Decimal("0.27"), None)
    assert (report.total.list_cost, report.currency, report.complete) == (Decimal("0.30"), "USD", True)


def test_usage_without_dates_asks_for_the_running_month(server: TrueServer, client: Solar) -> None:
    server.play(whole({"data": [], "total": TOTAL, "currency": "USD", "complete": False}))
    assert client.usage().complete is False
    assert server.requests[0].target == "/v1/usage"
    assert "idempotency-key" not in server.requests[0].headers


def test_an_account_shows_tier_discount_limits_and_month(server: TrueServer, client: Solar) -> None:
    server.play(whole(ACCOUNT))
    account = client.account()
    assert (account.name, account.discount, account.grant_tokens_left) == ("한빛출판", Decimal("0.20"), 99)
    assert account.limits == Limits(requests_per_minute=60, tokens_per_minute=None, concurrency=4)
    assert account.month_to_date == MonthToDate(Decimal("12.34"), Decimal(0), "USD")
    assert account.raw["added_later"] is True


def test_invoices_come_with_exact_money_and_their_next_page(server: TrueServer, client: Solar) -> None:
    server.play(whole(page(INVOICE, after="c2")), whole(page()))
    invoices = client.invoices()
    (invoice,) = invoices
    assert (invoice.subtotal, invoice.tax, invoice.total) == (Decimal("0.24"), Decimal("0.02"), Decimal("0.26"))
    assert invoice.lines[0].exact_amount == Decimal("0.2400000")
    assert invoice.issued_at == datetime(2026, 11, 1, 2, tzinfo=UTC)
    assert len(client.invoices(month="2026-10", after=invoices.next)) == 0
    assert server.requests[1].target == "/v1/invoices?month=2026-10&after=c2"


def test_shares_and_models_come_as_pages(server: TrueServer, client: Solar) -> None:
    server.play(whole(page(SHARE)), whole({"object": "list", "data": [{"id": "solar-pro4", "object": "model"}]}))
    assert [(share.amount, share.weight) for share in client.shares()] == [(Decimal("12.34"), Decimal("123456.5"))]
    assert [model.id for model in client.models()] == ["solar-pro4"]


async def test_the_async_client_has_the_same_views(server: TrueServer, async_client: AsyncSolar) -> None:
    usage = {"data": [ROW], "total": TOTAL, "currency": "USD", "complete": True}
    server.play(whole(usage), whole(ACCOUNT), whole(page(INVOICE)), whole(page(SHARE)), whole(page({"id": "m"})))
    assert (await async_client.usage(group_by="day")).total.calls == 2
    assert (await async_client.account()).kind == "club"
    assert len(await async_client.invoices()) == len(await async_client.shares()) == len(await async_client.models())


@pytest.mark.parametrize(
    "body",
    [b"", b"<html>hello</html>", b"[]", b"{}", b'{"data": 1}', b'{"data": [1]}'],
)
def test_an_answer_that_is_not_the_contracts_says_so(server: TrueServer, client: Solar, body: bytes) -> None:
    server.play(whole(body))
    with pytest.raises(solar_sdk.MalformedAnswerError) as caught:
        client.shares()
    assert caught.value.status == 200


@pytest.mark.parametrize("amount", [12.34, "twelve", "NaN", "Infinity", True, None])
def test_money_that_is_not_a_decimal_string_is_refused(server: TrueServer, client: Solar, amount: object) -> None:
    server.play(whole(page({**SHARE, "amount": amount})))
    with pytest.raises(solar_sdk.MalformedAnswerError, match="'amount'"):
        client.shares()
