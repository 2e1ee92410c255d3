"""`python -m systems.broker --environment FILE`: one node as a real process."""

from harness.process import run_node
from systems.broker.node import run_broker_node

if __name__ == "__main__":
    run_node(run_broker_node)
