"""Who may do what behind the operator's API: named tokens, each with a role.

Owns: the tokens of operators (hashes only) and the table of which role may use which route. Never: a route itself, or a gateway key.
Invariants: a route that the table does not name is for admins alone; a revoked or expired token opens nothing from the next request on.
"""
