"""Who is in the ring: one ring after the other, each with an epoch, agreed upon, adopted and never gone back from.

state          a ring with its epoch, and the steps of a change: pure
placement      who answers reads and who must take writes, by that ring
agreement      which ring follows: one decision per epoch among the members of the one before (Paxos)
service        what this node knows, its disk's identity, requests of other epochs refused
streaming      what a node gains it fetches from those who have it
change         the driver of a change, step by step
administration the operator's side
"""
