"""One etcd member: its command line, and what it says of itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.foreign import PATIENCE_S
from harness.node import Address
from harness.process import NodeFile
from systems.etcd import PEER
from systems.etcd.gateway import Gateway


class EtcdMember:
    """Implements `harness.foreign.ForeignNode`. A member that has data goes on with it and ignores the initial
    cluster."""

    def __init__(self, file: NodeFile) -> None:
        self._file = file
        self._gateway = Gateway(Address(*file.listen), PATIENCE_S)

    def prepare(self) -> Sequence[str]:
        file, config, peer = self._file, self._file.config, self._file.ports[PEER]
        members = ",".join(f"{node.name}={_url(peer.peers[node.name])}" for node in file.topology.nodes)
        return (
            "etcd",
            *("--name", file.name),
            *("--data-dir", str(Path(file.data) / "etcd")),
            *("--listen-client-urls", _url(file.listen)),
            *("--advertise-client-urls", _url(file.peers[file.name])),
            *("--listen-peer-urls", _url(peer.listen)),
            *("--initial-advertise-peer-urls", _url(peer.peers[file.name])),
            *("--initial-cluster", members),
            *("--initial-cluster-token", f"chaos-{file.seed}"),
            *("--initial-cluster-state", "new"),
            *("--heartbeat-interval", str(config["heartbeat-interval"])),
            *("--election-timeout", str(config["election-timeout"])),
            *("--snapshot-count", str(config["snapshot-count"])),
            *("--logger", "zap"),
            *("--log-outputs", "stderr"),
        )

    async def look(self) -> Mapping[str, Any] | None:
        status = await self._gateway.call("maintenance/status")
        me = status["header"]["member_id"]
        leader = status.get("leader", "0")
        role = "leader" if leader == me else "follower" if leader != "0" else "candidate"
        return {"role": role, "term": int(status.get("raftTerm", 0))}


def _url(place: tuple[str, int]) -> str:
    return "http://{}:{}".format(*place)
