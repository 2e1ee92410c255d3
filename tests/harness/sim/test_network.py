"""Streams: order, cuts of each kind in each direction, late bytes, half-open ends, back-pressure."""

from __future__ import annotations

import asyncio
import itertools
import random
import socket
from typing import Any

import pytest

from harness.clusters.sim import SimCluster
from harness.node import NodeEnvironment
from harness.sim.errors import EscapesSimulationError
from tests.harness.sim.toy import ask, connect, lines, run, started


def late(cluster: SimCluster) -> list[dict[str, Any]]:
    return [e.fields for e in cluster.events if e.kind == "late-delivery"]


def test_a_stream_arrives_whole_and_in_order_whatever_the_seed() -> None:
    async def sink(env: NodeEnvironment) -> None:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            while data := await reader.read(rng.randrange(1, 5000)):
                env.disk.append("got", data)
            writer.write(b"done")
            writer.close()

        rng = random.Random(1)
        await (await asyncio.start_server(serve, port=9000)).serve_forever()

    async def talk(payload: bytes, rng: random.Random) -> bytes:
        reader, writer = await connect()
        left = payload
        while left:
            size = rng.choice((1, 10, 1000, 20_000, 200_000))
            writer.write(left[:size])
            left = left[size:]
            await writer.drain()
            if rng.random() < 0.3:
                await asyncio.sleep(rng.random() / 1000)
        writer.write_eof()
        return await reader.read()

    async def scenario(cluster: SimCluster) -> None:
        rng = random.Random(7)
        payload = rng.randbytes(3_000_000)
        await started(cluster)
        await cluster.degrade("p0", "b1", latency_ms=2, jitter_ms=30)
        talking = cluster.client_host("p0").spawn(talk(payload, rng))
        for how in ("drop", "hold"):
            await asyncio.sleep(0.01)
            await cluster.cut("p0", "b1", how=how)
            await asyncio.sleep(0.5)
            await cluster.heal("p0", "b1")
        assert await talking == b"done"
        assert cluster._world.host("b1").disk.read("got") == payload
        assert not cluster._world.network.connections

    for seed in range(3):
        run(scenario, sink, nodes=1, seed=seed)


def test_latencies_have_bounds_and_a_tail() -> None:
    async def scenario(cluster: SimCluster) -> list[float]:
        await started(cluster)
        took: list[float] = []

        async def pings() -> None:
            reader, writer = await connect()
            loop = asyncio.get_running_loop()
            for _ in range(2000):
                began = loop.time()
                writer.write(b"ping\n")
                await reader.readline()
                took.append((loop.time() - began) * 1000)

        await cluster.client_host("p0").spawn(pings())
        return sorted(took)

    took = run(scenario)
    assert took[0] >= 0.4
    assert 1.0 < took[1000] < 1.4
    assert 2 < took[-1] < 20
    slow = run(scenario, sim_latency_min_ms=20.0, sim_latency_max_ms=21.0)
    assert 40 <= slow[0] < slow[1000] < 42.5


def test_degrade_adds_and_lifts() -> None:
    async def scenario(cluster: SimCluster) -> list[float]:
        await started(cluster)
        host, took = cluster.client_host("p0"), []
        for latency in (0, 100, 0):
            await cluster.degrade("p0", "b1", latency_ms=latency, jitter_ms=latency / 10)
            began = cluster.now_ns()
            await host.spawn(ask("x"))
            took.append((cluster.now_ns() - began) / 1e6)
        return took

    before, during, after = run(scenario)
    # Two trips there: one for the connect, one for the question.
    assert before < 40 and after < 40 and 200 <= during < 260


@pytest.mark.parametrize("how", ["drop", "hold", "reject"])
@pytest.mark.parametrize("direction", ["there", "back", "both"])
def test_a_cut_stops_a_connect_in_either_direction(how: Any, direction: str) -> None:
    links = {"there": [("p0", "b1")], "back": [("b1", "p0")]}
    links["both"] = links["there"] + links["back"]

    async def scenario(cluster: SimCluster) -> None:
        await started(cluster)
        for source, target in links[direction]:
            assert (await cluster.cut(source, target, how=how)).verified
        host = cluster.client_host("p0")
        asking = host.spawn(ask("x"))
        await asyncio.sleep(5)
        if how == "reject" and direction != "back":
            with pytest.raises(ConnectionRefusedError):
                await asking
        else:
            assert not asking.done()
        # The other client and the other node are not concerned.
        assert await cluster.client_host("p1").spawn(ask("y")) == "y"
        assert await host.spawn(ask("z", "b2")) == "z"
        for source, target in links[direction]:
            await cluster.heal(source, target)
        if not asking.done():
            assert await asyncio.wait_for(asking, 3) == "x"
        assert await host.spawn(ask("again")) == "again"

    run(scenario)


def test_a_connect_across_silence_ends_with_a_time_out() -> None:
    async def scenario(cluster: SimCluster) -> None:
        await started(cluster)
        await cluster.cut("b1", "p0", how="drop")
        began = cluster.now_ns()
        with pytest.raises(TimeoutError, match="Connect call failed"):
            await cluster.client_host("p0").spawn(ask("x"))
        assert (cluster.now_ns() - began) / 1e9 == pytest.approx(60, abs=0.01)
        with pytest.raises(TimeoutError):
            await cluster.client_host("p0").spawn(asyncio.wait_for(ask("x"), 2))

    run(scenario)


def test_nobody_listens_and_nobody_knows_the_name() -> None:
    async def scenario(cluster: SimCluster) -> None:
        await started(cluster)
        host = cluster.client_host("p0")
        with pytest.raises(ConnectionRefusedError):
            await host.spawn(asyncio.open_connection("b1", 1))
        with pytest.raises(socket.gaierror, match="b9"):
            await host.spawn(ask("x", "b9"))
        await cluster.kill("b1")
        with pytest.raises(ConnectionRefusedError):
            await host.spawn(ask("x"))
        await cluster.power_fail("b2")
        with pytest.raises(TimeoutError):
            await host.spawn(asyncio.wait_for(ask("x", "b2"), 5))
        asking = host.spawn(ask("patient", "b2"))
        await asyncio.sleep(1)
        await cluster.restart("b2")
        # The SYN is sent again some time after the power is back.
        assert await asyncio.wait_for(asking, 5) == "patient"

    run(scenario)


async def _send_then(what: str, hold_s: float = 0.0) -> None:
    """Sends a line, then closes, aborts, or keeps the connection."""
    _, writer = await connect()
    await asyncio.sleep(0.1)
    writer.write(b"late\n")
    if what == "close":
        writer.close()
    elif what == "abort":
        writer.transport.abort()
    await asyncio.sleep(hold_s)


def _cut_while_sending(what: str, how: Any, seconds: float, seed: int = 0) -> tuple[list[str], list[Any]]:
    async def scenario(cluster: SimCluster) -> tuple[list[str], list[Any]]:
        await started(cluster)
        host = cluster.client_host("p0")
        sending = host.spawn(_send_then(what, 1000))
        await asyncio.sleep(0.05)
        await cluster.cut("p0", "b1", how=how)
        await asyncio.sleep(1)
        if what == "kill":
            await host.kill()
        await asyncio.sleep(seconds - 1)
        assert lines(cluster, "b1") == []
        healed = cluster.now_ns()
        await cluster.heal("p0", "b1")
        await asyncio.sleep(1.1)
        for event in cluster.events:
            if event.kind == "line":
                assert event.time >= healed
        if what == "kill":
            with pytest.raises(ConnectionAbortedError):
                await sending
        return lines(cluster, "b1"), late(cluster)

    return run(scenario, seed=seed)


@pytest.mark.parametrize("how", ["drop", "hold"])
@pytest.mark.parametrize(("what", "abandoned"), [("keep", False), ("close", True)])
def test_bytes_sent_into_a_cut_arrive_after_the_heal(how: Any, what: str, abandoned: bool) -> None:
    received, told = _cut_while_sending(what, how, 10)
    assert received == ["late"]
    assert len(told) == 1
    assert told[0]["source"] == "p0" and told[0]["target"] == "b1" and told[0]["bytes"] == 5
    assert told[0]["abandoned"] is abandoned
    assert 9_000 <= told[0]["delayed_ms"] <= 12_000


@pytest.mark.parametrize("how", ["drop", "hold"])
def test_bytes_of_an_aborted_connection_never_arrive(how: Any) -> None:
    assert _cut_while_sending("abort", how, 10) == ([], [])


def test_bytes_of_a_killed_process_arrive_late_or_never_as_its_kernel_closes() -> None:
    outcomes = [_cut_while_sending("kill", "drop", 5, seed)[0] for seed in range(12)]
    assert ["late"] in outcomes and [] in outcomes
    assert outcomes == [_cut_while_sending("kill", "drop", 5, seed)[0] for seed in range(12)]


def test_silence_longer_than_the_tcp_user_timeout_breaks_the_connection_for_good() -> None:
    assert _cut_while_sending("close", "drop", 35) == ([], [])
    assert _cut_while_sending("close", "hold", 300)[0] == ["late"]


def test_the_sender_learns_of_the_tcp_user_timeout_and_the_receiver_stays_half_open() -> None:
    lost: list[str] = []

    async def talk() -> None:
        reader, writer = await connect()
        writer.write(b"first\n")
        await reader.readline()
        await asyncio.sleep(1)
        writer.write(b"second\n")
        try:
            await reader.readline()
        except OSError as error:
            lost.append(type(error).__name__)

    async def scenario(cluster: SimCluster) -> None:
        await started(cluster)
        talking = cluster.client_host("p0").spawn(talk())
        await asyncio.sleep(0.5)
        await cluster.cut("p0", "b1", how="drop")
        began = cluster.now_ns()
        await talking
        assert 30 < (cluster.now_ns() - began) / 1e9 < 32
        assert lost == ["TimeoutError"]
        assert len(cluster._world.host("b1").process.endpoints) == 1  # type: ignore[union-attr]

    run(scenario)


def test_a_one_way_cut_lets_bytes_through_the_other_way_until_nothing_is_acknowledged() -> None:
    async def pushing(env: NodeEnvironment) -> None:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            try:
                for i in itertools.count():
                    writer.write(b"%d\n" % i)
                    await writer.drain()
                    await asyncio.sleep(1)
            except OSError as error:
                env.emit("lost", error=type(error).__name__)

        await (await asyncio.start_server(serve, port=9000)).serve_forever()

    got: list[bytes] = []

    async def listen() -> None:
        reader, _ = await connect()
        while True:
            got.append(await reader.readline())

    async def scenario(cluster: SimCluster) -> None:
        await started(cluster)
        cluster.client_host("p0").spawn(listen())
        await asyncio.sleep(0.5)
        await cluster.cut("p0", "b1", how="drop")
        await asyncio.sleep(20)
        assert len(got) == 21
        assert not cluster.events
        await asyncio.sleep(15)
        assert [e.fields["error"] for e in cluster.events] == ["TimeoutError"]

    run(scenario, pushing, nodes=1)


def test_reject_resets_the_sender_at_once_and_the_other_end_when_it_sends() -> None:
    async def scenario(cluster: SimCluster) -> None:
        await started(cluster)
        ends: dict[str, Any] = {}

        async def hold() -> str:
            reader, writer = await connect()
            ends["writer"] = writer
            try:
                return (await reader.readline()).decode()
            except ConnectionResetError:
                return "reset"

        host = cluster.client_host("p0")
        first = host.spawn(hold())
        await asyncio.sleep(0.1)
        await cluster.cut("p0", "b1", how="reject")
        await asyncio.sleep(0.001)
        assert first.done() and first.result() == "reset"
        await cluster.heal("p0", "b1")

        second = host.spawn(hold())
        await asyncio.sleep(0.1)
        await cluster.cut("b1", "p0", how="reject")
        await asyncio.sleep(1)
        assert not second.done()
        ends["writer"].write(b"anybody there?\n")
        await asyncio.sleep(0.02)
        assert lines(cluster, "b1") == []
        assert not second.done()
        await cluster.heal("b1", "p0")
        ends["writer"].write(b"now?\n")
        assert await asyncio.wait_for(second, 1) == "reset"

    run(scenario)


def test_a_killed_peer_is_noticed_unless_the_link_is_silent() -> None:
    async def hold() -> str:
        reader, _ = await connect()
        try:
            if not await reader.readline():
                return "eof"
        except ConnectionResetError:
            return "reset"
        return "?"

    async def scenario(cluster: SimCluster) -> str:
        await started(cluster)
        host = cluster.client_host("p0")
        first = host.spawn(hold())
        await asyncio.sleep(0.1)
        await cluster.kill("b1")
        outcome = await asyncio.wait_for(first, 1)
        await cluster.restart("b1")
        await asyncio.sleep(0.1)
        second = host.spawn(hold())
        await asyncio.sleep(0.1)
        await cluster.power_fail("b1")
        await asyncio.sleep(20)
        assert not second.done()
        await cluster.restart("b1")
        await asyncio.sleep(20)
        assert not second.done()
        return outcome

    assert {run(scenario, seed=seed) for seed in range(10)} == {"eof", "reset"}


def test_a_half_open_end_is_reset_when_it_sends_to_the_next_life() -> None:
    async def hold() -> str:
        reader, writer = await connect()
        await asyncio.sleep(5)
        writer.write(b"still there?\n")
        try:
            await reader.readline()
        except ConnectionResetError:
            return "reset"
        return "?"

    async def scenario(cluster: SimCluster) -> None:
        await started(cluster)
        holding = cluster.client_host("p0").spawn(hold())
        await asyncio.sleep(0.1)
        await cluster.power_fail("b1")
        await cluster.restart("b1")
        assert await holding == "reset"
        assert lines(cluster, "b1") == []

    run(scenario)


def test_half_close() -> None:
    async def totals(env: NodeEnvironment) -> None:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            data = await reader.read()
            await asyncio.sleep(1)
            writer.write(b"%d" % len(data))
            writer.close()
            await writer.wait_closed()

        await (await asyncio.start_server(serve, port=9000)).serve_forever()

    async def talk() -> bytes:
        reader, writer = await connect()
        writer.write(b"x" * 12_345)
        assert writer.can_write_eof()
        writer.write_eof()
        with pytest.raises(RuntimeError):
            writer.write(b"more")
        return await reader.read()

    async def scenario(cluster: SimCluster) -> bytes:
        await started(cluster)
        return await cluster.client_host("p0").spawn(talk())

    assert run(scenario, totals, nodes=1) == b"12345"


def test_back_pressure_reaches_the_writer_and_lifts() -> None:
    async def slow(env: NodeEnvironment) -> None:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await asyncio.sleep(10)
            total = 0
            while data := await reader.read(65_536):
                total += len(data)
            env.emit("read", total=total)

        await (await asyncio.start_server(serve, port=9000)).serve_forever()

    written: list[int] = []

    async def flood() -> None:
        _, writer = await connect()
        for _ in range(200):
            writer.write(bytes(10_000))
            await writer.drain()
            written.append(10_000)
        writer.close()
        await writer.wait_closed()

    async def scenario(cluster: SimCluster) -> None:
        await started(cluster)
        flooding = cluster.client_host("p0").spawn(flood())
        await asyncio.sleep(5)
        assert 200_000 < sum(written) < 600_000
        await flooding
        await asyncio.sleep(1)
        assert [e.fields["total"] for e in cluster.events] == [2_000_000]

    run(scenario, slow, nodes=1)


def test_what_a_transport_says_of_itself() -> None:
    async def talk() -> None:
        _, writer = await connect()
        transport: Any = writer.transport
        assert transport.get_extra_info("peername") == ("10.0.0.2", 9000)
        assert transport.get_extra_info("sockname")[0] == "10.0.0.4"
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        assert transport.get_extra_info("sslcontext") is None
        assert transport.is_reading() and not transport.is_closing()
        transport.pause_reading()
        assert not transport.is_reading()
        transport.set_write_buffer_limits(100, 10)
        assert transport.get_write_buffer_limits() == (10, 100)
        with pytest.raises(ValueError):
            transport.set_write_buffer_limits(1, 10)
        writer.close()
        await writer.wait_closed()
        assert transport.is_closing()
        writer.write(b"after the end")
        loop = asyncio.get_running_loop()
        assert (await loop.getaddrinfo("b2", 5))[0][4] == ("10.0.0.3", 5)
        assert socket.getaddrinfo("b2", 5)[0][4] == ("10.0.0.3", 5)
        assert socket.gethostbyname("b2") == "10.0.0.3"
        assert socket.gethostname() == "p0"
        for refused in ({"ssl": True}, {"sock": object()}):
            with pytest.raises(EscapesSimulationError):
                await loop.create_connection(asyncio.Protocol, "b1", 9000, **refused)

    async def scenario(cluster: SimCluster) -> None:
        await started(cluster)
        await cluster.client_host("p0").spawn(talk())

    run(scenario)


def test_servers_bind_close_and_free_their_port() -> None:
    async def program(env: NodeEnvironment) -> None:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.close()

        server = await asyncio.start_server(serve, "0.0.0.0", 9000)
        with pytest.raises(OSError, match="already in use"):
            await asyncio.start_server(serve, env.name, 9000)
        with pytest.raises(OSError, match="Cannot assign"):
            await asyncio.start_server(serve, "p0", 9001)
        async with server:
            assert server.is_serving() and server.sockets[0].getsockname() == ("10.0.0.2", 9000)
        assert not server.is_serving() and not server.sockets
        async with await asyncio.start_server(serve, None, 9000):
            reader, _ = await asyncio.open_connection("localhost", 9000)
            assert await reader.read() == b""
        anywhere = await asyncio.start_server(serve, port=0)
        assert anywhere.sockets[0].getsockname()[1] > 40_000
        env.emit("fine")

    async def scenario(cluster: SimCluster) -> list[str]:
        await started(cluster)
        return [e.kind for e in cluster.events]

    assert run(scenario, program, nodes=1) == ["fine", "exited"]


def test_buffered_protocols_and_broken_protocols() -> None:
    class Filling(asyncio.BufferedProtocol):
        def __init__(self) -> None:
            self.buffer = bytearray(7)
            self.got = b""

        def get_buffer(self, sizehint: int) -> bytearray:
            return self.buffer

        def buffer_updated(self, nbytes: int) -> None:
            self.got += self.buffer[:nbytes]

    class Broken(asyncio.Protocol):
        error: BaseException | None = None

        def data_received(self, data: bytes) -> None:
            raise ValueError("unreadable")

        def connection_lost(self, exc: BaseException | None) -> None:
            self.error = exc

    async def talk() -> tuple[bytes, BaseException | None]:
        loop = asyncio.get_running_loop()
        transport, filling = await loop.create_connection(Filling, "b1", 9000)
        transport.write(b"twenty-five characters..\n")
        other, broken = await loop.create_connection(Broken, "b1", 9000)
        other.write(b"x\n")
        await asyncio.sleep(1)
        return filling.got, broken.error

    async def scenario(cluster: SimCluster) -> None:
        await started(cluster)
        got, error = await cluster.client_host("p0").spawn(talk())
        assert got == b"twenty-five characters..\n"
        assert isinstance(error, ValueError)
        assert next(e.node for e in cluster.events if e.kind == "unhandled-exception") == "p0"

    run(scenario)
