"""The tree of queues that makes links poor."""

from __future__ import annotations

from harness.clusters.netem import Quality, tree


def test_sound_links_need_no_tree() -> None:
    assert tree("eth0", {}) == []


def test_each_address_has_a_branch_of_its_own() -> None:
    assert tree(
        "eth0",
        {
            "10.0.0.2": Quality(latency_ms=100, jitter_ms=20),
            "10.0.0.3": Quality(loss=0.25, bandwidth_kbps=512),
        },
    ) == [
        "qdisc add dev eth0 root handle 1: htb default 0",
        "class add dev eth0 parent 1: classid 1:1 htb rate 100gbit",
        "qdisc add dev eth0 parent 1:1 handle 2: netem limit 100000 delay 110ms 10ms",
        "filter add dev eth0 parent 1: protocol ip prio 1 u32 match ip dst 10.0.0.2/32 flowid 1:1",
        "class add dev eth0 parent 1: classid 1:2 htb rate 512kbit",
        "qdisc add dev eth0 parent 1:2 handle 3: netem limit 100000 loss 25%",
        "filter add dev eth0 parent 1: protocol ip prio 1 u32 match ip dst 10.0.0.3/32 flowid 1:2",
    ]
