"""The checks: each takes the root of a tree and returns its findings as lines of `path:line: what is wrong`, best empty.

Owns the reading of the tree as text and syntax. Never imports the code that it checks, never writes.
"""
