"""The catalogue's mistakes that the store knows how to make (`--bug NAME`)."""

from __future__ import annotations

BUGS: dict[str, str] = {
    "read-repair-blind-overwrite": "a repair replaces what the replica has, though that may be newer",
    "hint-deleted-before-ack": "a hint is forgotten when it is sent, not when it has arrived (Riak 2.1.0)",
    "failed-write-reported-as-fail": "a write that missed its quorum is called failed though some replicas have it",
    "abd-no-write-back": "an ABD read returns the largest tag without writing it back",
    "abd-write-skips-query": "an ABD writer takes the next tag of its own instead of a quorum's",
    "abd-tag-reuse-after-restart": "an ABD writer uses the same nonce after a restart",
    "coordinator-clock-backwards": "a coordinator's timestamps follow its clock backwards",
    "put-without-context-overwrites": "a blind put replaces the siblings instead of joining them",
    "sibling-explosion": "one version vector for all siblings: an interleaved put keeps what it has seen",
    "delete-as-absence": "a delete removes the key and leaves nothing behind",
    "merkle-hash-omits-metadata": "leaves hash the values, not versions and tombstones",
    "ae-pushes-blind": "anti-entropy replaces the peer's cells instead of merging",
    "pn-actor-shared": "all replicas count under the same actor",
    "pn-nonatomic-local-inc": "a replica reads its count, yields, and writes it",
    "actor-reuse-after-amnesia": "a node that lost its data gives the same dots again (Riak before per-key epochs)",
    "context-dropped-on-read-merge": "a read returns the siblings of all replicas with the clock of one",
    "merkle-stale-tree": "a leaf is not hashed again after a write",
    "cas-checked-at-proposal": "the condition of a compare-and-set is checked by the leader, not where the log applies it",
    "raft-read-without-quorum": "a leader answers reads without asking whether it still leads (etcd before 3.1's quorum reads)",
    "reap-with-primary-down": "a tombstone is forgotten though one replica cannot be asked (Riak KV #1869)",
}
