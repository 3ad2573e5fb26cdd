"""The wire formats of the simulated Solar, a file each: Inbound → Answer.

Owns: how strict each endpoint is (`*_ask.py` where reading is long), and the shape of its answers, streams and usage.
Never does: sending, pausing, breaking (sending.py), or deciding what is said (mind/).
Invariant: a format is a pure function; the whole answer and the stream of one request carry the same text and usage.
"""
