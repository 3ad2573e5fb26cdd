"""Who pays: currency, zone, tax, billing mode, limits, owner group; and the audit log of every change.

Owns: accounts and audit entries. Never: a price, a count, or a key.
Invariant: each change raises the account's `epoch`, which is how running gateways notice.
"""
