"""Making a failure small: fewer faults, operations, clients, nodes and less time, with the same anomaly.

case       what is made small, how big it is, and what must stay
passes     the ways to make one smaller, as pure functions
search     tries them, each candidate a run in simulation
test_file  what is left as a pytest file that fails until the mistake is gone
"""
