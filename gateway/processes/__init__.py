"""The processes of one machine: supervisor, workers, background jobs, ops port.

Owns: who is started, watched, replaced and stopped, and in which order. Never: what a call does.
Invariants: nothing outlives the supervisor, not even its kill -9; a clean stop exits 0 and leaves nothing undrained.
"""
