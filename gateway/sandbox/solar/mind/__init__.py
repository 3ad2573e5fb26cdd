"""What the simulated Solar knows and says, whatever the wire format: its models, its tokens, its words.

Owns: the table of models, the counting rule, JSON schemas, and the draft of every answer.
Never does: reading requests or shaping answers (wire/), or any I/O. Everything here is pure.
Invariant: no answer has more tokens than its limit, no text more tokens than its UTF-8 bytes.
"""
