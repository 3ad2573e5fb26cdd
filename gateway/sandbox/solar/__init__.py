"""The simulated Solar: Upstage's API as `upstage-api.md` (2026-11-23) describes it, as a process of its own.

Owns: keys, routing and rate-limit headers (server.py, limits.py), faults on demand (directives.py, sending.py), the ground truth
(truth.py), the wire formats (wire/), and what is said, with tokens counted by rule (mind/).
Never does: anything with the gateway's code. Whoever starts it speaks HTTP to it, as to the real one.
Invariants: an answer is a function of its request (and `x-sim-seed`), not of the clock; a stream and the whole answer of the same
request have the same text and usage; every call with a valid key leaves exactly one record when it ends.

    one request:  server → wire/ (reads, shapes) → mind/draft (what is said) → sending → truth
"""
