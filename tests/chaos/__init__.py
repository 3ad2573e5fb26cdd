"""Mixed calls through a fault proxy on both sides while processes are killed and paused; then upstream's own records against the ledger.

    python -m tests.chaos --seed 7 --seconds 60 --faults "kill worker,kill redis"

Owns: the stage, the load, the faults, and the audit. The plan of calls and faults follows from the seed; what falls where does not, because
processes run in real time. What must hold, holds wherever it falls.
"""
