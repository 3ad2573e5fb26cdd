"""Solar itself: where a call is answered.

Owns: upstream's address and keys, deadlines, retries before the first byte, the meaning of its errors, the framing of its streams.
Never: a caller's key, a price, a count. Any `httpx.AsyncBaseTransport` can stand in for the network.
Invariant: nothing is sent twice once a byte of it may have been read.
"""
