"""The simulator: an asyncio event loop with virtual time, and the hosts, network, disks and clocks around it.

What is virtual, what is refused and what is not covered: docs/explanation/simulation.md.
"""
