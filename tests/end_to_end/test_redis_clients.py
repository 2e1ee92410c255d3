"""redis-cli (Debian's redis-tools) and redis-py against three nodes of the quorum store as real processes, one of
which is killed in the middle. Nothing of theirs knows of chaos."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from running_cluster import Up, up

pytestmark = pytest.mark.real
PATIENCE_S = 30.0


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Up]:
    with up(tmp_path / "up", system="quorum") as running:
        yield running
        assert running.process.poll() is None
        assert set(running.logs().values()) == {""}


def port(running: Up, node: str) -> int:
    return int(running.node(node)["address"].rpartition(":")[2])


def redis_cli(running: Up, node: str, *words: str, version: int = 2, typed: str | None = None) -> list[str]:
    program = shutil.which("redis-cli")
    assert program is not None, "redis-cli is missing: apt install redis-tools"
    options = ["-p", str(port(running, node)), *(["-3"] if version == 3 else [])]
    done = subprocess.run(
        [program, *options, *words],
        input=typed,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=True,
    )
    assert not done.stderr
    return done.stdout.splitlines()


def client(running: Up, node: str, version: int = 2) -> Any:
    return redis.Redis(
        port=port(running, node), protocol=version, decode_responses=True, socket_timeout=PATIENCE_S
    )


def test_redis_cli(cluster: Up) -> None:
    assert redis_cli(cluster, "n1", "PING") == ["PONG"]
    assert redis_cli(cluster, "n1", "SET", "greeting", "two words") == ["OK"]
    for version in (2, 3):
        assert redis_cli(cluster, "n2", "GET", "greeting", version=version) == ["two words"]
    assert redis_cli(cluster, "n3", "HSET", "row", "a", "1", "b", "2") == ["2"]
    assert redis_cli(cluster, "n1", "HGETALL", "row") == ["a", "1", "b", "2"]
    assert redis_cli(cluster, "n1", "QGET", "greeting", "ALL") == ["two words", "1"]
    replicas = redis_cli(cluster, "n1", "QREPLICAS", "greeting")
    assert sorted(replicas[::2]) == ["n1", "n2", "n3"]
    assert {json.loads(held)["value"] for held in replicas[1::2]} == {"two words"}
    assert redis_cli(cluster, "n1", typed='SET a "b c"\nGET a\nINCR a\nNOSUCH\nQGET a SOME\n') == [
        "OK",
        "b c",
        "WRONGTYPE Operation against a key holding the wrong kind of value",
        "",
        "ERR unknown command 'NOSUCH'",
        "",
        "ERR level 'SOME': expected ONE, QUORUM, ALL, ANY or 1 to 3",
        "",
    ]

    cluster.kill_9("n2")
    assert redis_cli(cluster, "n1", "SET", "greeting", "after") == ["OK"]
    assert redis_cli(cluster, "n3", "GET", "greeting") == ["after"]
    until(lambda: redis_cli(cluster, "n1", "QGET", "greeting", "ALL")[0].startswith("UNAVAILABLE"))


@pytest.mark.parametrize("version", [2, 3])
def test_redis_py(cluster: Up, version: int) -> None:
    one, other = client(cluster, "n1", version), client(cluster, "n3", version)
    one.client_setname("session")
    assert one.client_getname() == "session"
    assert one.set("k", "v")
    assert other.get("k") == "v"
    assert other.exists("k", "missing") == 1
    assert [one.incr("n"), other.incrby("n", 5), one.decr("n")] == [1, 6, 5]
    one.sadd("s", "a", "b", "c")
    other.srem("s", "b")
    assert one.smembers("s") == {"a", "c"}
    other.hset("h", mapping={"x": "1", "y": "2"})
    assert (one.hget("h", "x"), one.hgetall("h")) == ("1", {"x": "1", "y": "2"})
    assert one.command_count() > 30
    assert one.info()["redis_mode"] == "cluster"
    assert one.config_get("conflict") == {"conflict": "abd"}
    with pytest.raises(redis.ResponseError, match="wrong kind of value"):
        one.sadd("k", "a")

    cluster.kill_9("n2")
    pipeline = one.pipeline(transaction=False)
    for number in range(50):
        pipeline.set(f"k{number}", number)
    for number in range(50):
        pipeline.get(f"k{number}")
    assert pipeline.execute() == [True] * 50 + [str(number) for number in range(50)]
    assert [other.get(f"k{number}") for number in range(50)] == [str(number) for number in range(50)]
    assert other.delete("k") == 1
    assert one.get("k") is None

    context, *values = one.execute_command("QSIBLINGS", "cart")
    assert values == []
    one.execute_command("QPUTSIBLING", "cart", context, "milk")
    other.execute_command("QPUTSIBLING", "cart", context, "eggs")
    context, *values = one.execute_command("QSIBLINGS", "cart")
    assert sorted(values) == ["eggs", "milk"]
    _, *values = other.execute_command("QPUTSIBLING", "cart", context, "milk and eggs")
    assert values == ["milk and eggs"]


def until(holds: Any) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.2)
