"""Typed answers: what the wire says, as frozen values.

Owns: the shapes of replies, completions and the caller's own view, and how each is read. Never: sends anything, or decides what an
answer means.
"""
