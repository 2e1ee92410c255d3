"""Searching for situations that no run has reached yet: seeds that reach new ones are kept and mutated.

coverage   what a run reached, as a set of points
mutations  schedules that are a little different
search     the loop, with its growth curve
"""
