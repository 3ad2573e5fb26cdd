"""Our keys with upstream: which of them carries the next attempt.

Owns: each key's health (breaker), what its quota has room for (learnt from upstream's headers, and counted by ourselves beside them),
the choice by weight, and the turn of calls that must wait. Never: HTTP, a secret in a list or a log, a price.
Each worker has a fleet of its own: what it sent, who waits, and which keys answered it. Of a limit that is shown it takes its part, by the
number of workers that live.
Invariant: a key that is out of order or out of quota gets no call while another can take it, except one at a time to see if it is back.
"""
