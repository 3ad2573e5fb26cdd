"""What stands in for the world on one machine: Postgres, Valkey, a simulated Solar, a small local model.

Owns the processes it starts, their ports, passwords and data below one directory. Never used in production, never lets a
process outlive the one that started it, never listens anywhere but on loopback. The call path does not import it.
"""
