"""A Dynamo and Cassandra like store: any node coordinates, N replicas keep a key, R and W answer.

ring           who keeps a key: consistent hashing with virtual nodes and weights, distinct physical nodes
membership/    one ring after the other, each with an epoch: nodes join, leave, are replaced, and are rebuilt
versions/      what a replica keeps of a key, and how two of them become one
storage        commit log, snapshots, recovery
replica        what a node does as one of the N: read, merge and store, update in place
coordinator    reads and writes by quorums, read repair, ABD
quorums        how many have to answer, of which nodes
hints          writes kept for nodes that were down
anti_entropy   Merkle trees, compared pair by pair
tombstones     when a deletion may be forgotten
liveness       gossiped heartbeats and a phi accrual failure detector
resp/          the wire that clients speak, and the commands
messages       what nodes say to each other
"""
