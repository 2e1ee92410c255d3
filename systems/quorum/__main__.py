"""`python -m systems.quorum --environment FILE`: one node as a real process."""

from harness.process import run_node
from systems.quorum.node import run_quorum_node

if __name__ == "__main__":
    run_node(run_quorum_node)
