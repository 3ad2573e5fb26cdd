"""What things cost here: `make bench` measures the whole gateway, `python -m tests.bench.transport` the upstream client alone."""
