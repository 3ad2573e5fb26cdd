"""Who is next, where calls must wait for room upstream.

Owns: the order of waiting calls, by account and weight, and its bounds. Never: a key, a clock, a caller's limits (admission has those).
Invariant: while an account has calls waiting, it gets its weight's share of what is let through, whatever others ask for.
"""
