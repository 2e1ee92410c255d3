"""The gate: a suite of tests in a project's own file, run within a budget, before a change ships.

suite    what chaos.toml or [tool.chaos] says
corpus   shrunk failures of the past, replayed first
run      the suite from beginning to end, and what became of each test
"""
