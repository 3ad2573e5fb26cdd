"""A gateway whose clock stands after the end of October, and whose ledger holds what its accounts used in October."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from billing.database import open_engine, sessions_of
from tests.billing.months import book, call
from tests.gateway.cli.office import Office
from tests.running import Gateway

AFTER_OCTOBER = "2026-11-02T00:00:00Z"
SELLER = {
    "GATEWAY_SELLER_NAME": "주식회사 업스테이지",
    "GATEWAY_SELLER_REGISTRATION_NUMBER": "123-45-67891",
    "GATEWAY_SELLER_REPRESENTATIVE": "김솔라",
    "GATEWAY_SELLER_ADDRESS": "경기도 용인시 수지구 광교중앙로 338",
}
TAX = {"country": "KR", "registration_number": "220-81-62517", "representative": "이한빛", "address": "서울시 중구"}


@dataclass(frozen=True)
class Finance:
    """Finance at its desk, in November 2026."""

    gateway: Gateway
    office: Office
    payer: str
    partner: str

    def invoice(self) -> Any:
        """October's invoice of the payer, issued."""
        self.gateway.post("/months/2026-10/close", {})
        (found,) = self.gateway.operator.get("/invoices", params={"account": self.payer}).json()["data"]
        return found


async def use(url: str, *calls: Any) -> None:
    engine = open_engine(url, connections_max=2)
    await book(sessions_of(engine), *calls)
    await engine.dispose()


@pytest.fixture(scope="session")
async def finance(tmp_path_factory: pytest.TempPathFactory) -> Any:
    environment = {"GATEWAY_SANDBOX_CLOCK": AFTER_OCTOBER, "GATEWAY_MONTH_GRACE_S": "0", **SELLER}
    with Gateway.started(tmp_path_factory.mktemp("finance"), environment=environment, covered=True) as gateway:
        payer = gateway.account(name="한빛미디어", currency="KRW", tax=TAX)["id"]
        partner = gateway.account(name="Partner", kind="club")["id"]
        gateway.post("/fx-rates", {"date": "2026-10-31", "pair": "USD/KRW", "rate": "1385.5"})
        await use(
            gateway.addresses["database_url"],
            call(payer, (10_000_000, 500_000, 4_000_000, 0, 0), discount="0.1"),
            call(payer, (0, 0, 0, 12, 3), model="document-parse"),
            call(payer, (1000, 0, 200, 0, 0), grants=(("gra_1", "output", 200), ("gra_1", "input", 1000))),
            call(partner, (1_000_000, 0, 0, 0, 0)),
        )
        yield Finance(gateway, Office(gateway), payer, partner)


@pytest.fixture(scope="session")
def issued(finance: Finance) -> Any:
    return finance.invoice()


@pytest.fixture(scope="session")
def gateway(finance: Finance) -> Gateway:
    """One gateway for this room: starting another takes longer than all its tests."""
    return finance.gateway
