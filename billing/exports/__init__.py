"""Exports: invoices and shares as others read them.

Owns: the shapes of JSON, CSV and text. Never: reads a table, reckons an amount, or rounds; what is printed is what was issued.
Invariant: a cell of text never begins like a formula; money is a decimal string with its currency beside it.
"""
