"""Who calls, and on which terms.

Owns: API keys, the cache of callers, the table of prices as this process knows it. Never: a counter, a limit's decision.
Invariants: a secret is stored as a hash and shown once; what is cached is at most `key_cache_s` old, and an older reading never
replaces a newer one.
"""
