"""Which upstream keys there are.

Owns: the spelling of `GATEWAY_UPSTREAM_KEYS`, and a key's public name. Never: a call, a key's state.
Invariant: no error and no representation of a key holds its secret.
"""
