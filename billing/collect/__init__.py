"""Stripe's side of the money: what finance issued reaches the customer, and what the customer did reaches us.

Owns: the outbox of things to be sent (each once, by our own id), Stripe's names of them, the deliveries that came from Stripe, top-ups of
prepaid balances, meter events, and the standing that an account's payments give it. Never: an amount (it sends what was issued, in whole
minor units), and never a decision about a call.
Invariants: everything is sent at least once and takes effect once, whatever dies in between: a request's key is written down before it is
sent; a key that Stripe may have forgotten, or that stands for a 5xx, is never used again before Stripe was asked for the thing itself.
"""
