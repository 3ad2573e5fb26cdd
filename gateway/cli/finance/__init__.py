"""The hands of finance towards those who bill us or collect for us, one file per command group.

Owns: commands that compare. Never: reckons money; like all commands these are thin HTTP clients (`operator_client.py`).
"""
