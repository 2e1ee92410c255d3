"""Random groups of honest but slow members: nobody ever has what somebody else may still have, and all come to rest."""

from __future__ import annotations

import random

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kio.schema.errors import ErrorCode

from systems.broker.context import KafkaError
from systems.broker.groups import codec
from systems.broker.groups.consumer_protocol.members import Beat, Rules, beaten, left
from systems.broker.groups.consumer_protocol.state import ConsumerGroup, Partition
from systems.broker.metadata import MetadataImage, PartitionState, TopicState

TOPICS = ("a", "b")


def image(**partitions: int) -> MetadataImage:
    replica = PartitionState((1,), 1, 0, 0, (1,))
    return MetadataImage(
        topics={
            name: TopicState(name, name.encode() * 16, (replica,) * count)
            for name, count in partitions.items()
        }
    )


class Client:
    """Holds what it was told it may, and gives up what it was told to, in its own time."""

    def __init__(self, name: str, topics: tuple[str, ...], assignor: str) -> None:
        self.name, self.topics, self.assignor = name, topics, assignor
        self.epoch = 0
        self.held: tuple[Partition, ...] = ()
        self.told: tuple[Partition, ...] = ()
        self.missed = False
        """An answer to it was lost: it may not know its epoch, nor what it is to give up."""

    def beat(self) -> Beat:
        return Beat(
            self.name,
            self.epoch,
            "client",
            "host",
            rebalance_timeout_ms=1_000,
            subscribed=self.topics,
            assignor=self.assignor,
            owned=self.held,
        )

    def obeys(self) -> None:
        self.held = self.told


class Cluster:
    def __init__(self, *, hurries: bool = False) -> None:
        self.image = image(a=3, b=2)
        self.group = ConsumerGroup("g")
        self.clients: dict[str, Client] = {}
        self._rules = Rules(("uniform", "range"), 10, hurries)

    def hears(self, client: Client, *, answered: bool = True) -> None:
        before = self.group
        self.group, member = beaten(before, client.beat(), self.image, self._rules)
        assert codec.decode_consumer_group(codec.encode_consumer_group(self.group)[1]) == self.group
        client.missed = not answered
        if answered:
            client.epoch, client.told = member.epoch, member.assigned
            # What is new it takes at once; what is gone it gives up when it comes to it.
            client.held = tuple(dict.fromkeys((*client.held, *member.assigned)))

    def hears_of(self, client: Client, *, answered: bool = True) -> None:
        """Who missed an answer may be fenced, as by Kafka: it lets everything go and joins again."""
        try:
            self.hears(client, answered=answered)
        except KafkaError as error:
            assert error.code is ErrorCode.fenced_member_epoch
            assert client.missed
            if answered:
                client.epoch, client.held, client.told = 0, (), ()
                self.hears(client)

    def check(self) -> None:
        held = [p for client in self.clients.values() for p in client.held]
        assert len(held) == len(set(held)), "two members have a partition"
        owned = [p for m in self.group.members.values() for p in (*m.assigned, *m.revoking)]
        assert len(owned) == len(set(owned)), "a partition was given to two members"

    def comes_to_rest(self) -> None:
        for _ in range(8):
            for client in self.clients.values():
                self.hears_of(client)
                client.obeys()
                self.check()
        assert self.group.state in ("Stable", "Empty")
        subscribed = {topic for client in self.clients.values() for topic in client.topics}
        wanted = {
            (t.id.hex(), i)
            for n, t in self.image.topics.items()
            if n in subscribed
            for i in range(len(t.partitions))
        }
        assert {p for client in self.clients.values() for p in client.held} == wanted
        assert all(client.epoch == self.group.epoch for client in self.clients.values())


def disturb(cluster: Cluster, rng: random.Random) -> None:
    match rng.choice(
        ("join", "beat", "beat", "lost", "obey", "obey", "leave", "fence", "subscribe", "grow", "anew")
    ):
        case "join" if len(cluster.clients) < 5:
            name = f"m{rng.randrange(100)}"
            if name not in cluster.clients:
                topics = rng.choice((("a",), ("b",), TOPICS))
                cluster.clients[name] = Client(name, topics, rng.choice(("uniform", "range")))
                cluster.hears(cluster.clients[name])
        case "grow":
            cluster.image = image(a=rng.randint(3, 5), b=2)
        case what if cluster.clients:
            client = cluster.clients[rng.choice(sorted(cluster.clients))]
            match what:
                case "beat" | "lost":
                    cluster.hears_of(client, answered=what == "beat")
                case "obey":
                    client.obeys()
                case "subscribe":
                    client.topics = rng.choice((("a",), TOPICS))
                case "leave":
                    del cluster.clients[client.name]
                    cluster.group = left(cluster.group, Beat(client.name, -1, "", ""))
                case "fence":
                    # Its session ended; as a well-behaved client it holds nothing any more when it is told.
                    del cluster.clients[client.name]
                    cluster.group = cluster.group.without(client.name)
                case "anew":
                    client.epoch, client.held, client.told = 0, (), ()
                    cluster.hears(client)


@given(st.randoms(use_true_random=False), st.integers(5, 60))
@settings(max_examples=60, deadline=None)
def test_nobody_has_what_somebody_else_may_still_have(rng: random.Random, steps: int) -> None:
    cluster = Cluster()
    for _ in range(steps):
        disturb(cluster, rng)
        cluster.check()
    cluster.comes_to_rest()


def test_who_hurries_gives_a_partition_to_two() -> None:
    with pytest.raises(AssertionError, match="two members"):
        for seed in range(50):
            cluster, rng = Cluster(hurries=True), random.Random(seed)
            for _ in range(40):
                disturb(cluster, rng)
                cluster.check()


def pair() -> tuple[Cluster, Client, Client]:
    """The first has everything and was told to give some of it up, the second waits for that."""
    cluster = Cluster()
    first, second = Client("a", ("a",), "uniform"), Client("b", ("a",), "uniform")
    cluster.clients = {"a": first, "b": second}
    cluster.hears(first)
    cluster.hears(second)
    cluster.hears(first)
    return cluster, first, second


def test_a_partition_moves_when_its_owner_says_that_it_has_given_it_up() -> None:
    cluster, first, second = pair()
    assert (len(first.held), len(first.told), second.held) == (3, 2, ())
    assert (first.epoch, second.epoch, cluster.group.state) == (2, 3, "Reconciling")
    cluster.hears(second)
    assert second.held == ()
    first.obeys()
    cluster.hears(second)
    assert second.held == (), "the coordinator has not heard of it"
    cluster.hears(first)
    cluster.hears(second)
    assert (first.epoch, len(second.held), cluster.group.state) == (3, 1, "Stable")


def test_a_member_whose_answer_was_lost_is_heard_and_one_that_holds_too_much_is_not() -> None:
    cluster, first, _ = pair()
    first.obeys()
    cluster.hears(first, answered=False)
    assert first.epoch == 2
    cluster.hears(first)
    assert first.epoch == 3
    late = msgspec.structs.replace(cluster.group.members["a"], epoch=4, previous_epoch=3)
    cluster.group = cluster.group.with_member(late)
    first.held = (("61" * 16, 0), ("61" * 16, 1), ("61" * 16, 2))
    with pytest.raises(KafkaError, match="fenced_member_epoch"):
        cluster.hears(first)


def test_what_stays_is_held_since_it_was_given() -> None:
    cluster, first, second = pair()
    first.obeys()
    cluster.hears(first)
    cluster.hears(second)
    members = cluster.group.members
    assert members["a"].since == (2, 2)
    assert members["b"].since == (3,)


@pytest.mark.parametrize("assignor", ["uniform", "range"])
@given(st.lists(st.integers(1, 7), min_size=1, max_size=3), st.integers(1, 6))
def test_shares_differ_by_no_more_than_they_must(assignor: str, sizes: list[int], count: int) -> None:
    cluster = Cluster()
    cluster.image = image(**{f"t{n}": size for n, size in enumerate(sizes)})
    for number in range(count):
        client = Client(f"m{number}", tuple(cluster.image.topics), assignor)
        cluster.clients[client.name] = client
        cluster.hears(client)
    cluster.comes_to_rest()
    held = [len(client.held) for client in cluster.clients.values()]
    assert max(held) - min(held) <= (1 if assignor == "uniform" else len(sizes))


def test_uniform_moves_as_little_as_it_can() -> None:
    cluster = Cluster()
    cluster.image = image(a=12)
    for number in range(3):
        client = Client(f"m{number}", ("a",), "uniform")
        cluster.clients[client.name] = client
        cluster.comes_to_rest()
    before = {name: set(client.held) for name, client in cluster.clients.items()}
    cluster.clients["m9"] = Client("m9", ("a",), "uniform")
    cluster.comes_to_rest()
    moved = sum(len(before[name] - set(cluster.clients[name].held)) for name in before)
    assert moved == 3
