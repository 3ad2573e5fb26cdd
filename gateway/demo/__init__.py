"""The whole story on one machine: a partner gives text, calls are metered, the month is closed, bill and share are written.

Owns: the telling. Never: a shortcut; it uses the operator's HTTP API and `solar_sdk`, as anybody would.
"""
