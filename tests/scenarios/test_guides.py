"""The guides for finance and for partners are right: their commands and examples run as printed, over a month that is lived through."""

from __future__ import annotations

import re
import runpy
import shlex
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

import billing
from tests.gateway.cli.office import Office
from tests.running import Gateway

ROOM = Path(str(billing.__file__)).parent
FINANCE = (ROOM / "README.md").read_text(encoding="utf-8")
PARTNERS = (ROOM / "club" / "README.md").read_text(encoding="utf-8")
OCTOBER, NOVEMBER = "2026-10-24T01:00:00Z", "2026-11-02T01:00:00Z"
DEAR = {"model": "solar-pro4", "messages": [{"role": "user", "content": "[[sim: tokens=90000]] 안녕?"}]}
SECRET = re.compile(r"sk-solar-[\w-]{20,}")


def blocks(text: str, kind: str) -> list[str]:
    return re.findall(rf"```{kind}\n(.*?)```", text, re.DOTALL)


@dataclass
class Reader:
    """Someone who does what the guide says, line by line, and knows the ids that were printed."""

    commands: Iterator[str]
    names: dict[str, str] = field(default_factory=dict)

    def next(self, office: Office, begins: str) -> str:
        """Run the guide's next command, which must begin like this; what it printed."""
        line = next(self.commands)
        assert line.startswith(f"solar-gateway {begins}"), line
        words = [self.names.get(word, word) for word in shlex.split(line)[1:]]
        return office.does(*words)

    def rest(self, office: Office) -> None:
        for line in self.commands:
            words = [self.names.get(word, word) for word in shlex.split(line)[1:]]
            office.does(*words)


def spend(gateway: Gateway, secret: str, calls: int) -> None:
    with gateway.caller(secret) as caller:
        for _ in range(calls):
            assert caller.post("/chat/completions", json=DEAR).status_code == 200


def test_a_month_goes_by_as_the_guides_tell_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    [card] = blocks(FINANCE, "json")
    Path("card.json").write_text(card)
    [rates] = blocks(FINANCE, "csv")
    Path("rates.csv").write_text(rates)
    lines = [line for block in blocks(FINANCE, "sh") for line in block.splitlines()]
    reader = Reader(iter(lines))
    with Gateway.started(tmp_path / "data", environment={"GATEWAY_SANDBOX_CLOCK": OCTOBER}) as gateway:
        office = Office(gateway)
        for begins in ("prices list", "prices add", "prices fx-import", "shares plan-add"):
            reader.next(office, begins)
        for name in ("$CAFE", "$HANBIT"):
            account_id = re.findall(r"acc_\w+", reader.next(office, "accounts create"))[0]
            reader.names[name] = account_id
        reader.next(office, "club contribute")
        assert "150,000,000" in reader.next(office, "club grants")
        [secret] = SECRET.findall(reader.next(office, "keys create"))
        spend(gateway, secret, 60)
        partner = gateway.key(reader.names["$HANBIT"])
        monkeypatch.setenv("SOLAR_API_KEY", partner)
        monkeypatch.setenv("SOLAR_BASE_URL", gateway.url)
        [example] = blocks(PARTNERS, "python")
        Path("example.py").write_text(example)
        runpy.run_path("example.py")
        assert capsys.readouterr().out.startswith("100M 0.10 150000000\n")
    with Gateway.started(tmp_path / "data", environment={"GATEWAY_SANDBOX_CLOCK": NOVEMBER}) as gateway:
        office = Office(gateway)
        assert reader.names["$CAFE"] in reader.next(office, "usage")
        for begins in ("month close 2026-10 --draft", "month close 2026-10"):
            assert "KRW" in reader.next(office, begins)
        reader.next(office, "invoices list")
        invoices = office.json("invoices", "list", "--month", "2026-10")["data"]
        reader.names["$INVOICE"] = next(one["id"] for one in invoices if one["account_id"] == reader.names["$CAFE"])
        reader.rest(office)
        assert Path("invoice.pdf").read_bytes().startswith(b"%PDF")
        assert Path("calls.csv").read_text().count("\n") > 60
        assert "2026-000" in Path("journal.csv").read_text()
        monkeypatch.setenv("SOLAR_BASE_URL", gateway.url)
        runpy.run_path("example.py")
        [share] = gateway.operator.get("/shares", params={"month": "2026-10"}).json()["data"]
        told = capsys.readouterr().out.splitlines()[-1].split()
        assert told == ["2026-10", share["pool"], share["weight"], share["amount"], "USD"]
        assert share["payout"] == share["amount"]
