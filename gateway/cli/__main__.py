"""`python -m gateway.cli`: the console script without its wrapper."""

from __future__ import annotations

from gateway.cli import main

if __name__ == "__main__":
    main()
