"""`solar-gateway stripe`: how invoices reach their customers, and the money us. Exit codes: as in `terminal.py`; `stripe reconcile` ends
with 1 where something differs.
"""

from __future__ import annotations

from typing import Annotated

import typer

from gateway.cli.operator_client import DEFAULT_URL
from gateway.cli.terminal import AccountId, AsJson, Url, operator, print_json, print_list, print_one, print_table, say

app = typer.Typer(no_args_is_help=True, help="What is sent to Stripe, and what came of it.")

_KINDS = {"kind": "kind", "waiting": "waiting", "given up": "given_up", "done": "done"}
_STUCK = {"kind": "kind", "id": "id", "account": "account_id", "why": "why"}
_FINDINGS = {"kind": "kind", "account": "account_id", "what": "what", "ours": "ours", "Stripe's": "theirs"}
_TOP_UPS = {
    "id": "id",
    "amount": "amount",
    "currency": "currency",
    "status": "status",
    "asked": "created_at",
    "url": "url",
}


@app.command()
def status(url: Url = DEFAULT_URL, as_json: AsJson = False) -> None:
    """Is Stripe set up, and how much waits, is done, or has to be looked at."""
    with operator(url) as gateway:
        answer = gateway.get("stripe")
    if as_json:
        print_json(answer)
        return
    state = answer.value
    if not state["enabled"]:
        say(state["why"], style="yellow")
    print_table(state["outbox"], _KINDS, "Sent to Stripe")
    if state["given_up"]:
        print_table(state["given_up"], _STUCK, "To be looked at; `solar-gateway stripe retry` tries again")


@app.command()
def retry(url: Url = DEFAULT_URL, as_json: AsJson = False) -> None:
    """Try once more what Stripe refused so often that it was given up."""
    with operator(url) as gateway:
        print_one(gateway.post("stripe", "retry"), as_json, "Tried again")


@app.command()
def reconcile(
    month: Annotated[str, typer.Argument(metavar="YYYY-MM", help="The invoices' month.")],
    url: Url = DEFAULT_URL,
    as_json: AsJson = False,
) -> None:
    """A month at Stripe against ours, per customer."""
    with operator(url) as gateway:
        answer = gateway.get("stripe", "reconciliation", query={"month": month})
    agreed = answer.value
    if as_json:
        print_json(answer)
    elif agreed["clean"]:
        say(f"{month}: {agreed['invoices']} invoices of {agreed['customers']} customers agree.")
    else:
        print_table(agreed["findings"], _FINDINGS, f"{month}: what differs")
    if not agreed["clean"]:
        raise typer.Exit(1)


@app.command("top-up")
def top_up(
    account: AccountId,
    amount: Annotated[str, typer.Argument(help="In the account's currency, such as 50.00.")],
    url: Url = DEFAULT_URL,
    as_json: AsJson = False,
) -> None:
    """Ask a prepaid account to pay in; `top-ups` shows where, as soon as Stripe has made the page."""
    with operator(url) as gateway:
        print_one(gateway.post("accounts", account, "top-ups", body={"amount": amount}), as_json, "Top-up")


@app.command("top-ups")
def top_ups(account: AccountId, url: Url = DEFAULT_URL, as_json: AsJson = False) -> None:
    """What an account was asked to pay in, newest first."""
    with operator(url) as gateway:
        print_list(gateway.get("accounts", account, "top-ups"), _TOP_UPS, as_json, "Top-ups")


@app.command()
def refund(
    top_up_id: Annotated[str, typer.Argument(metavar="TOP-UP", help="The top-up's id.")],
    amount: Annotated[str, typer.Argument(help="How much of it.")],
    reason: Annotated[str, typer.Option(help="Why; the audit log keeps it.")],
    url: Url = DEFAULT_URL,
    as_json: AsJson = False,
) -> None:
    """Give a part of a paid top-up back."""
    with operator(url) as gateway:
        body = {"amount": amount, "reason": reason}
        print_one(gateway.post("top-ups", top_up_id, "refund", body=body), as_json, "Given back")
