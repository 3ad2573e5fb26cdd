"""The core: what a call is, decided without any I/O. The sync and the async client are thin shells around it.

Owns: settings, deadlines, what may be retried and when, requests and their answers, server-sent events.
Never: opens a connection, sleeps, or starts a thread. Clocks and the environment come in as arguments.
"""
