"""The network: an operation sent through all its attempts, an answer read whole or piece by piece, a connection given back or closed.

Owns: connections, deadlines of single waits, streams. Never: decides what may be retried or what an error is called (that is `core`).
"""
