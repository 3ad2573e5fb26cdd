"""What the demo prints. Presentation only; every number comes from the gateway's answers."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from solar_sdk import Reply

_TEXT_SHOWN = 34


class Show:
    """The demo's voice."""

    def __init__(self) -> None:
        self._console = Console(highlight=False, soft_wrap=True)
        self._steps = 0

    def step(self, text: str) -> None:
        self._steps += 1
        self._console.print(f"\n[bold cyan]{self._steps}.[/] {text}")

    def gift(self, name: str, contribution: dict[str, Any]) -> None:
        grant = contribution["grant"]
        self._console.print(
            f"   {name} gave [bold]{contribution['dataset']}[/]: {contribution['words']:,} words, {contribution['tokens']:,} tokens; "
            f"{grant['tokens']:,} free tokens until {grant['until'][:10]}"
        )

    def call(self, name: str, how: str, streamed_text: str, reply: Reply) -> None:
        text = (streamed_text or reply.text).replace("\n", " ")
        usage = reply.usage
        counts = (
            "no usage"
            if usage is None
            else f"{usage.input_tokens:>4} + {usage.cached_input_tokens:>2} in  {usage.output_tokens:>6,} out"
        )
        shown = text[:_TEXT_SHOWN] + ("…" if len(text) > _TEXT_SHOWN else "")
        self._console.print(
            f"   {name:<13}{how:<9}{counts}  {reply.cost!s:>12} {reply.currency}  {shown}", markup=False
        )

    def metered(self, name: str, calls: int, cost: Decimal) -> None:
        self._console.print(f"   {name:<13}meter():  {calls} calls, {cost} USD")

    def usage(self, name: str, account: dict[str, Any], usage: dict[str, Any]) -> None:
        table = Table(
            title=f"{name}: usage of the month, from the ledger",
            title_justify="left",
            box=None,
            pad_edge=False,
            padding=(0, 3, 0, 0),
        )
        for column in ("model", "calls", "input", "cached", "output", "list price", "paid"):
            table.add_column(column, justify="left" if column == "model" else "right")
        for row in usage["data"]:
            counts = (row["calls"], row["input_tokens"], row["cached_input_tokens"], row["output_tokens"])
            table.add_row(
                row["group"], *(f"{count:,}" for count in counts), f"{row['list_cost']} USD", f"{row['cost']} USD"
            )
        self._console.print()
        self._console.print(table)
        percent = Decimal(account["discount"]) * 100
        self._console.print(
            f"   tier {account['tier']}, discount {percent:.0f} %, {account['grant_tokens_left']:,} free tokens left, "
            f"complete: {usage['complete']}"
        )

    def invoice(self, name: str, invoice: dict[str, Any], stem: Path) -> None:
        table = Table(
            title=f"Invoice {invoice['number']}: {name}", title_justify="left", padding=(0, 1), show_footer=True
        )
        table.add_column("line", footer=f"subtotal {invoice['subtotal']}, tax {invoice['tax']}")
        table.add_column("quantity", justify="right")
        table.add_column("unit price", justify="right", footer="total")
        table.add_column(invoice["currency"], justify="right", footer=f"[bold]{invoice['total']}[/]", no_wrap=True)
        for line in invoice["lines"]:
            price = f"{line['unit_price']} / {line['unit']}"
            table.add_row(line["description"], f"{line['quantity']:,}", price, line["amount"])
        self._console.print(table, soft_wrap=False)
        self._console.print(f"   free tokens used: {invoice['grants_used']:,}\n   written: {stem}.json, {stem}.csv\n")

    def share(self, name: str, share: dict[str, Any], path: Path) -> None:
        self._console.print(
            f"   Revenue share of {name}: pool {share['pool']} {share['currency']}, weight {share['weight']}, "
            f"[bold]amount {share['amount']} {share['currency']}[/] (rule {share['rule']})\n   written: {path}"
        )

    def done(self, seconds: float) -> None:
        self._console.print(f"\n[bold green]Done[/] in {seconds:.1f} s. Every number above came out of the ledger.")

    def kept(self, url: str, key: str, model: str) -> None:
        body = f'{{"model":"{model}","messages":[{{"role":"user","content":"안녕?"}}]}}'
        self._console.print(
            f"\nStill serving on {url}/v1 (Ctrl-C stops). A key of {'Cafe Dev'}: {key}\nTry it:", markup=False
        )
        self._console.print(
            f"curl {url}/v1/chat/completions -H 'Authorization: Bearer {key}' -H 'Content-Type: application/json' -d '{body}'",
            markup=False,
        )

    def failed(self, error: Exception) -> None:
        self._console.print(f"[red]The demo broke off:[/] {type(error).__name__}: {error}")
