"""What finance does at the command line: prices and rates, partners, closing a month, invoices, shares and payouts, Stripe.

Owns: these commands, one file for each group (`payouts.py` adds to `shares`). Never: reckons money; it asks the operator API, as all of
the command line does, and prints what that says.
"""

from gateway.cli.finance import club, invoices, month, payouts, prices, shares, stripe

__all__ = ["club", "invoices", "month", "payouts", "prices", "shares", "stripe"]
