"""HTTP in, HTTP out, nothing else.

Owns: doors, routes, wire shapes, who may call which route. Never: a decision about a call or about money; it hands over and
hands back.
"""
