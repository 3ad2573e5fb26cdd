"""Invoices: a month of an account on paper.

Owns: drafts, tax, numbers, and what was issued. Never: prices a call, or changes an invoice once it is issued.
Invariants: one invoice per account and month; numbers are gapless per issuer and year; each line is rounded once and its
exact amount stands beside it; subtotal = the sum of the rounded lines; exact lines = what the ledger says the month cost.
"""
