"""Consumer groups of the new protocol (KIP-848, `group.protocol=consumer`; semantics 2.5).

No barrier and no leader: the coordinator assigns, and every heartbeat of a member moves that member one step from what it
has towards what it shall have. `state` is a group as data, `assigning` computes whole targets, `reconciling` one member's
next step, `members` what a heartbeat says of its sender, `coordinator` makes it durable and keeps the clocks.
"""
