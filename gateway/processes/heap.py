"""How often this process looks for garbage that holds itself.

At its start a worker holds some 150,000 objects of its libraries for good. Python's collector goes through all of them whenever what has
come since is a quarter as much, which stops every call for 100 to 170 ms (measured 2026-11, Python 3.11), and through the young ones
after every 700 that stay. A call leaves no cycle behind (only a connection that closes does), but what is remembered of it for a while
counts as young; so what is there at the start is set aside, and the young are looked at less often.
"""

from __future__ import annotations

import gc

_YOUNG_MAX = 10_000
"""A look at so many takes 2 to 4 ms; what lies about until then is a few megabytes."""


def settle_heap() -> None:
    """Call once, when all is loaded and nothing is served yet."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(_YOUNG_MAX, 10, 10)
