"""What did a call use? Counting, and estimating where there is nothing to count. Pure.

Owns: the wire shapes of requests and usage blocks, the upper bound before a call, the best count of a broken stream.
Never: a price, a socket, a clock.
Invariant: upstream's own usage block is the truth where there is one; an estimate is always marked as such.
"""
