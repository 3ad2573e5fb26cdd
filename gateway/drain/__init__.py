"""The usage stream → the ledger: exactly once by the call's id, and the sweep of holds whose worker is gone.

Owns: reading the shards' streams in batches (`rounds`), what a record on them is (`message`), and those that nobody can read or store
(`unreadable`). Never: a price, a grant's split, a cap; they stand on the record, or in the one script.
Invariants: a record leaves its stream only after the ledger has it, or after it was set aside; a drain that dies anywhere does no harm.
"""

from gateway.drain.rounds import Drain, DrainBounds, flushed
from gateway.drain.unreadable import unreadable

__all__ = ["Drain", "DrainBounds", "flushed", "unreadable"]
