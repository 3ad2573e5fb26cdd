"""How calls of metered endpoints come in and their answers leave: before ASGI (fast), or on an ordinary route (any ASGI server).

Owns: reading a request's body within its bound, framing an answer, noticing that a client hung up. Never: what the answer is; one
journey stands behind both doors, and one test suite runs over them.
"""
