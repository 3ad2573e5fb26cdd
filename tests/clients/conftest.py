"""Clients of two sorts: those of our own environment, and those that need older packages and so a venv of their own (`make clients`)."""

from tests.clients.older import PYTHON

collect_ignore = [] if PYTHON.exists() else ["test_older_clients.py"]
