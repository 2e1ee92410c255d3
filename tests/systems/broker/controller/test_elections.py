"""ISR, ELR and leadership as KIP-966 has them: a table, and a model of what each replica may have lost."""

from __future__ import annotations

import random
from collections.abc import Sequence

import msgspec
import pytest
from kio.schema.alter_partition.v3.request import BrokerState as IsrMember
from kio.schema.alter_partition.v3.request import PartitionData
from kio.schema.errors import ErrorCode
from kio.schema.types import BrokerId
from kio.static.primitive import i32, i64

from systems.broker.context import KafkaError
from systems.broker.controller.alter_partition import validate
from systems.broker.controller.elections import (
    Rules,
    change_partition,
    drop_unclean,
    elect_recovered,
    fence,
    unfence,
)
from systems.broker.controller.recovery import Choice, awaits_recovery, choose
from systems.broker.controller.topics import place
from systems.broker.metadata import (
    BrokerState,
    MetadataImage,
    PartitionChange,
    PartitionState,
    Record,
    TopicState,
    apply_batch,
    decode_batch,
    decode_image,
    encode_batch,
    encode_image,
)
from systems.broker.replica_logs import LogEnd

CONFIG = {"min.insync.replicas": 2}


def cluster(*, elr: int = 1, replicas: tuple[int, ...] = (1, 2, 3), **config: str) -> MetadataImage:
    """Three brokers in service, one topic with one partition, everyone in sync."""
    partition = PartitionState(replicas, replicas[0], 0, 0, replicas)
    return MetadataImage(
        offset=10,
        brokers={i: BrokerState(i, f"b{i}", f"b{i}", 9092, i, fenced=False) for i in (1, 2, 3)},
        topics={
            "t": TopicState("t", b"t" * 16, (partition,), {k.replace("_", "."): v for k, v in config.items()})
        },
        features={"eligible.leader.replicas.version": elr},
    )


class Story:
    """Applies steps one after the other; remembers the reasons of the last."""

    def __init__(self, image: MetadataImage, bugs: frozenset[str] = frozenset()) -> None:
        self.image = image
        self.rules = Rules(CONFIG, bugs)
        self.reasons: list[str] = []

    @property
    def now(self) -> PartitionState:
        return self.image.topics["t"].partitions[0]

    def apply(self, records: Sequence[Record]) -> Story:
        self.reasons = [r.reason for r in records if isinstance(r, PartitionChange)]
        self.image = apply_batch(self.image, decode_batch(encode_batch(records)), self.image.offset + 1)
        return self

    def fence(self, broker: int) -> Story:
        return self.apply(fence(self.image, self.rules, broker))

    def unfence(self, broker: int) -> Story:
        return self.apply(unfence(self.image, self.rules, broker))

    def lose(self, broker: int) -> Story:
        """The broker registers again after an unclean shutdown."""
        return self.apply(drop_unclean(self.image, self.rules, broker))

    def isr(self, *isr: int) -> Story:
        change = change_partition(self.image, self.rules, self.image.topics["t"], 0, isr=isr)
        return self.apply([] if change is None else [change])


def test_a_fenced_leader_is_followed_by_the_next_in_sync_replica() -> None:
    story = Story(cluster()).fence(1)
    assert story.now == PartitionState((1, 2, 3), 2, 1, 1, (2, 3))
    assert story.reasons == ["leader-elected"]


def test_a_fenced_follower_leaves_the_isr_without_a_new_leader_epoch() -> None:
    story = Story(cluster()).fence(3)
    assert story.now == PartitionState((1, 2, 3), 1, 0, 1, (1, 2))
    assert story.reasons == ["isr-shrunk"]


def test_below_min_isr_who_leaves_becomes_eligible_and_above_it_nobody_is() -> None:
    story = Story(cluster()).isr(1, 2)
    assert story.now.elr == ()
    assert story.isr(1).now.elr == (2,)
    assert story.isr(1, 3).now.elr == ()


def test_the_last_member_fenced_leaves_an_empty_isr_and_itself_eligible() -> None:
    story = Story(cluster()).isr(1).fence(1)
    assert story.now == PartitionState((1, 2, 3), 2, 1, 2, (2,), elr=(1, 3), last_known_elr=())
    assert story.reasons == ["elr-elected"]


def test_s4_the_survivor_that_lost_data_is_not_elected() -> None:
    """Directed schedule S4: with ELR the complete replica leads, without it the lossy one."""
    safe = Story(cluster()).isr(1, 3).isr(1).fence(2).fence(3).fence(1)
    assert safe.now.leader == -1
    assert safe.lose(1).unfence(1).now.leader == -1
    assert safe.unfence(3).now.leader == 3

    for story in (Story(cluster(elr=0)), Story(cluster(), frozenset({"last-replica-standing"}))):
        story.isr(1, 3).isr(1).fence(1)
        assert (story.now.leader, story.now.isr, story.now.elr) == (-1, (1,), ())
        assert story.lose(1).unfence(1).now.leader == 1


def test_a_mutant_keeps_the_lossy_replica_eligible() -> None:
    story = Story(cluster(), frozenset({"elr-keeps-unclean-replica"})).isr(1).fence(2).fence(3).fence(1)
    assert story.lose(1).now.elr == (1, 2, 3)
    assert story.unfence(1).now.leader == 1


def everybody_lost(**config: str) -> Story:
    """1 and 2 were the last to be in sync, then all three restarted uncleanly; nobody is in service yet."""
    story = Story(cluster(**config)).isr(1, 2).isr(1).fence(2).fence(3).fence(1)
    for broker in (1, 2, 3):
        story.lose(broker)
    return story


def choice(story: Story, *, overdue: bool = False, **logs: tuple[int, int]) -> Choice | None:
    return choose(
        story.image,
        story.rules,
        story.image.topics["t"],
        story.now,
        {int(b[1:]): LogEnd(*end) for b, end in logs.items()},
        overdue=overdue,
    )


def test_when_everybody_restarted_uncleanly_nobody_leads_before_the_logs_were_compared() -> None:
    story = everybody_lost()
    for broker in (1, 2, 3):
        story.unfence(broker)
    now = story.now
    assert (now.leader, now.isr, now.elr, now.last_known_elr) == (-1, (), (), (1, 2))
    assert awaits_recovery(now)
    assert choice(story, b1=(3, 7), b3=(4, 9)) is None, "2 has not answered, 3 was not in sync"
    assert choice(story, b1=(3, 7), b2=(3, 8)) == Choice(2, complete=True)
    assert choice(story, b1=(4, 7), b2=(3, 8)) == Choice(1, complete=True)
    assert choice(story, b1=(3, 8), b2=(3, 8)) == Choice(1, complete=True)


def test_the_recovered_leader_stands_alone_until_others_are_in_sync() -> None:
    story = everybody_lost().unfence(1).unfence(2)
    story.apply([elect_recovered(story.rules, story.image.topics["t"], 0, 2, complete=True)])
    now = story.now
    assert story.reasons == ["recovered"]
    assert (now.leader, now.leader_epoch, now.isr, now.elr, now.last_known_elr) == (2, 2, (2,), (), (1,))
    # It goes down too before anybody has caught up: both logs count again.
    story.fence(2).lose(2)
    assert (story.now.leader, story.now.last_known_elr) == (-1, (1, 2))
    story.unfence(2)
    story.apply([elect_recovered(story.rules, story.image.topics["t"], 0, 2, complete=True)])
    assert story.isr(2, 1).now.last_known_elr == ()


def test_the_replica_with_the_furthest_log_is_waited_for() -> None:
    story = everybody_lost().unfence(1)
    assert choice(story, b1=(3, 7), b2=(3, 8)) is None
    assert choice(story, b1=(3, 8), b2=(3, 8)) == Choice(1, complete=True)


def test_an_aggressive_recovery_takes_who_answers_in_time() -> None:
    story = everybody_lost(unclean_recovery_strategy="aggressive").unfence(1).unfence(3)
    assert choice(story, b1=(3, 7)) is None
    assert choice(story, b1=(3, 7), overdue=True) == Choice(1, complete=False)
    assert choice(story, b1=(3, 7), b3=(3, 8), overdue=True) == Choice(3, complete=False)
    assert choice(story, b1=(3, 7), b2=(3, 6), b3=(3, 8), overdue=True) == Choice(1, complete=True)
    story.apply([elect_recovered(story.rules, story.image.topics["t"], 0, 3, complete=False)])
    assert (story.now.isr, story.now.last_known_elr, story.reasons) == ((3,), (), ["unclean-elected"])


def test_without_a_recovery_strategy_nobody_leads() -> None:
    story = everybody_lost(unclean_recovery_strategy="none").unfence(1).unfence(2)
    assert choice(story, b1=(3, 7), b2=(3, 8), overdue=True) is None


@pytest.mark.parametrize("elr", [0, 1])
def test_unclean_election_only_where_it_is_configured(elr: int) -> None:
    careful = Story(cluster(elr=elr)).isr(1, 2).fence(2).fence(1)
    assert careful.now.leader == -1
    story = Story(cluster(elr=elr, unclean_leader_election_enable="true")).isr(1, 2).fence(2).fence(1)
    assert (story.now.leader, story.now.isr, story.now.elr) == (3, (3,), ())
    assert story.reasons == ["unclean-elected"]


def test_nothing_changes_where_nothing_changes() -> None:
    story = Story(cluster())
    assert change_partition(story.image, story.rules, story.image.topics["t"], 0, isr=(1, 2, 3)) is None
    assert story.unfence(2).reasons == []


@pytest.mark.parametrize("seed", range(200))
def test_who_may_lead_has_every_committed_record(seed: int) -> None:
    """Model: a committed record is on every member of ISR and ELR, as long as at most one of the
    replicas that have it has crashed and lost data since it was committed (min ISR 2)."""
    rng = random.Random(seed)
    story = Story(cluster())
    fenced: set[int] = set()
    has = {1: True, 2: True, 3: True}
    lossy = 0
    for _ in range(30):
        broker = rng.choice((1, 2, 3))
        kind = rng.random()
        if kind < 0.3 and broker not in fenced:
            story.fence(broker)
            fenced.add(broker)
        elif kind < 0.6 and broker in fenced:
            if rng.random() < 0.3 and lossy == 0:
                lossy += 1
                has[broker] = False
                story.lose(broker)
            story.unfence(broker)
            fenced.discard(broker)
        elif story.now.leader != -1:
            leader = story.now.leader
            isr = {b for b in story.now.isr if rng.random() < 0.5} | {leader}
            joining = [b for b in (1, 2, 3) if b not in fenced and rng.random() < 0.5]
            for other in joining:
                has[other] = has[leader]
            story.isr(*(b for b in (1, 2, 3) if b in isr or b in joining))
        assert all(has[b] for b in (*story.now.isr, *story.now.elr)), story.now
        assert story.now.leader == -1 or story.now.leader in story.now.isr
        assert not fenced & set(story.now.isr)


def proposal(epoch: int = 0, partition_epoch: int = 0, **members: int) -> PartitionData:
    return PartitionData(
        partition_index=i32(0),
        leader_epoch=i32(epoch),
        new_isr_with_epochs=tuple(
            IsrMember(broker_id=BrokerId(int(b[1:])), broker_epoch=i64(e)) for b, e in members.items()
        ),
        partition_epoch=i32(partition_epoch),
    )


@pytest.mark.parametrize(
    ("sender", "data", "expected"),
    [
        (1, proposal(b1=1, b2=2), None),
        (1, proposal(b1=1, b2=-1), None),
        (2, proposal(b1=1, b2=2), ErrorCode.invalid_request),
        (1, proposal(epoch=-1, b1=1), ErrorCode.fenced_leader_epoch),
        (1, proposal(epoch=1, b1=1), ErrorCode.not_controller),
        (1, proposal(partition_epoch=-1, b1=1), ErrorCode.invalid_update_version),
        (1, proposal(b2=2), ErrorCode.invalid_request),
        (1, proposal(b1=1, b9=9), ErrorCode.invalid_request),
        (1, proposal(b1=1, b2=1), ErrorCode.ineligible_replica),
        (1, proposal(b1=1, b3=3), ErrorCode.ineligible_replica),
    ],
)
def test_alter_partition_is_accepted_only_as_rule_8_says(
    sender: int, data: PartitionData, expected: ErrorCode | None
) -> None:
    image = cluster()
    image = msgspec.structs.replace(
        image, brokers={**image.brokers, 3: msgspec.structs.replace(image.brokers[3], fenced=True)}
    )
    state = image.topics["t"].partitions[0]
    isr = {int(m.broker_id): int(m.broker_epoch) for m in data.new_isr_with_epochs}
    answer = None
    try:
        validate(image, Rules(CONFIG), state, sender, data, isr)
    except KafkaError as error:
        answer = error.code
    assert answer == expected


def test_replicas_and_leaders_are_spread() -> None:
    placed = place([1, 2, 3], 6, 3, 0)
    assert [r[0] for r in placed] == [1, 2, 3, 1, 2, 3]
    assert [r[1] for r in placed[:1] + placed[3:4]] == [2, 3], "one dead leader, two different heirs"
    assert all(sorted(r) == [1, 2, 3] for r in placed)
    assert place([1, 2, 3], 1, 1, 4) == [(2,)]
    with pytest.raises(KafkaError):
        place([1, 2, 3], 1, 4, 0)


def test_an_image_survives_a_snapshot() -> None:
    image = Story(cluster()).fence(1).image
    assert decode_image(encode_image(image)) == image
