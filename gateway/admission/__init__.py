"""May this call be made? One decision, and one settlement, each atomic for all replicas.

Owns: limits, holds, counters, and the usage stream, all in one Lua script (scripts/). Never: a price, HTTP, the ledger.
Invariants: Σ (holds + charged) ≤ cap; a refusal takes nothing; a settlement happens once, however often it is asked for.
"""
