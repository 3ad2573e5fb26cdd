"""`solar-gateway`: everything that is started by hand.

Owns: the command line; what runs the gateway (`serve.py`), and the hands of operators and finance, one file per
command group (finance's in a room of their own).
Never: reckons money, or reaches behind the operator API: those commands are thin HTTP clients (`operator_client.py`), and print
what the gateway says, as it says it.

Exit codes: 0 done; 1 it failed, with one line saying why; 2 a setting or an argument is wrong.
"""

from __future__ import annotations

import typer

from gateway.cli import accounts, keys, ledger, operators, serve, usage
from gateway.cli.finance import club, invoices, month, prices, shares, stripe

_HELP = """`solar-gateway`: everything that is started by hand.

What operators and finance do goes to a running gateway: --url or GATEWAY_URL names it, GATEWAY_OPERATOR_TOKEN opens it.

Exit codes: 0 done; 1 it failed, with one line saying why; 2 a setting or an argument is wrong.
"""

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help=_HELP)
app.add_typer(serve.app)
for group in (accounts, keys, club, prices, month, invoices, shares, stripe, operators, ledger):
    app.add_typer(group.app, name=group.__name__.rpartition(".")[2])
app.add_typer(month.reconcile, name="reconcile")
app.add_typer(usage.app)


def main() -> None:
    app()
