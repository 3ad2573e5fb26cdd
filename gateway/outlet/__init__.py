"""The part of the composition root that faces upstream.

Owns: which concrete transport, fleet and rules the settings ask for. Never: a call.
"""
