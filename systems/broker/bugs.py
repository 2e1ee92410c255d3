"""The catalogue's mistakes that the broker knows how to make (`--bug NAME`)."""

from __future__ import annotations

BUGS: dict[str, str] = {
    "truncate-to-hw": "a new follower cuts its log to its own high watermark (KIP-101, KAFKA-1211)",
    "kip279-fast-failover-divergence": "a leader answers for epochs it never saw (KIP-279, KAFKA-6361)",
    "fetch-not-epoch-fenced": "a leader counts followers of other epochs (KIP-320)",
    "isr-expand-below-leader-epoch-start": "a follower joins the ISR below the leader's start (KAFKA-7128)",
    "hw-from-committed-isr-only": "the high watermark ignores a pending ISR member (KIP-497)",
    "hw-advances-below-min-isr": "the high watermark moves with too few replicas in sync (KIP-966)",
    "list-offsets-regress": "a new leader tells its stale high watermark as the log's end (KIP-207)",
    "read-above-hw": "consumers read records that are not replicated yet",
    "last-replica-standing": "the last ISR member stays electable after it lost its log (before KIP-966)",
    "elr-keeps-unclean-replica": "a replica that lost its log stays an eligible leader (KIP-966)",
    "fast-reboot-without-fencing": "a broker registers before its old incarnation is fenced (KAFKA-7235)",
    "stale-broker-epoch-isr-join": "the controller lets a restarted broker into the ISR (KIP-903)",
    "alter-partition-ignores-partition-epoch": "the controller applies stale ISR proposals (KAFKA-12367)",
    "zombie-controller-not-fenced": "brokers obey a deposed controller (KAFKA-6082, KAFKA-14154)",
    "controller-commit-old-term-by-count": "a controller commits entries of older terms by counting (Raft, fig. 8)",
    "controller-vote-not-persisted": "a controller forgets its vote and votes twice in a term",
    "dedupe-state-not-replicated": "a new leader knows no producer's sequence (KIP-98)",
    "sequence-gap-accepted": "a leader appends over a gap in a producer's sequence (KIP-98)",
    "late-produce-after-abort": "a leader asks nobody before a transaction's first record (KAFKA-12671)",
    "aborted-index-wrong": "fetches do not name the aborted transactions in them",
    "coordinator-serves-without-lease": "a deposed coordinator answers from memory until it hears of it",
    "prepare-not-durable": "a coordinator acts on decisions that are not replicated",
    "marker-acked-before-replicated": "a marker counts before it is replicated",
    "zombie-producer-not-fenced": "the coordinator takes requests of older producer epochs (KIP-98)",
    "commit-retry-not-idempotent": "the retry of a commit whose answer was lost is refused",
    "txn-timeout-not-enforced": "the coordinator never aborts an expired transaction (KAFKA-5132)",
    "txn-offset-commit-not-group-fenced": "offsets of a former member are taken into a transaction (KIP-447)",
    "generation-not-fenced": "offset commits of an older generation are accepted",
}
