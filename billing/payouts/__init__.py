"""What partners are paid: whom, in which currency, by which tax papers, and what is held or came back.

Owns: payees, holds, payouts and their reversals. Never: computes a share (what is due stands on the statements), or moves money: a
payout is an instruction for finance and its bank.
Invariants: Σ payouts of a statement, reversals included, is 0 or what the statement says is due; a payout is never changed; where it
came back it is undone by a linked, negative one, and is due again.
"""
