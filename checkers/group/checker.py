"""Checker `group`: does a consumer group do with each record what its policy promises?

    consume   one turn of a member: what it was given, fetched, polled and committed (`workloads.group_member`)
    effects   everything that was processed, in the store outside the group

Every record must be processed (whatever commits before processing loses some, and is blamed for it); more than once only
where the policy does not exclude it, which is then shown as allowed, unless the application bears no repetition
(`group.once`). The coordinator never forgets what it acknowledged,
never gives a partition to two members at once, and gets members to work once the faults are over.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from checkers.forgotten_offsets import may_expire
from checkers.group.effects import duplicates, lost, phantoms
from checkers.group.measures import measures
from checkers.group.offsets import regressions
from checkers.group.ownership import fenced_instances, late_commits, late_effects, shared_generations
from checkers.group.positions import jumps
from checkers.group.progress import stuck
from checkers.group.turns import store, turns
from checkers.log.observations import observe
from checkers.violations import answer, blamed
from harness.checker import CheckContext
from harness.history import History
from harness.results import Anomaly, Blame, Result

LOSES = frozenset({"commit-before", "auto-commit-async"})
"""Policies that commit before they have processed."""
ONCE = frozenset({"eos"})
"""Policies that exclude repetition."""


class GroupChecker:
    description = (
        "a consumer group processes every record, as often as its policy allows, and forgets no offset"
    )
    anomalies: Mapping[str, str] = {
        "consume-lost": "a record that stands in the log, or did until retention took it, was never processed",
        "consume-duplicate": "a record was processed more than once; allowed unless the policy or the application excludes it",
        "offset-regression": "the group's committed offset is lower than one that was acknowledged before",
        "dual-ownership": "a partition belonged to two members at once: in one generation, or by a commit of an older generation that was accepted",
        "poll-skip": "a member that kept a partition was not given a record of it",
        "nonmonotonic-poll": "a member that kept a partition was given records that lie before its position",
        "rebalance-stuck": "after the last fault no member had a partition, for longer than all time-outs take",
        "phantom-read": "something was processed that nobody had sent",
    }

    def check(self, history: History, context: CheckContext) -> Result:
        seen = observe(history, str(context.config.get("isolation.level", "read_committed")))
        every, effects = turns(history.operations), store(history.operations)
        missing, doubts = lost(every, effects, seen)
        found = [
            *missing,
            *duplicates(effects),
            *phantoms(effects, seen),
            *regressions(every),
            *shared_generations(every),
            *late_commits(every),
            *fenced_instances(every),
            *(late_effects(effects) if context.config.get("group.lock", "none") != "none" else ()),
            *jumps(every, seen),
            *stuck(every, history, context.config),
        ]
        ok = sum(turn.operation.outcome == "ok" for turn in every)
        if not any(turn.records for turn in every):
            doubts.insert(0, f"0 records were given to members in {ok} turns that succeeded, of {len(every)}")
        policy = str(context.config.get("group.policy", "commit-after"))
        needs_once = bool(context.config.get("group.once", False))
        result = answer(
            "group",
            history,
            context,
            found,
            doubt=doubts[0] if doubts else None,
            measures=measures(every, effects),
            out_of={
                (name, partition): (len(of.final.values), "records")
                for name in ("consume-lost", "consume-duplicate")
                for partition, of in seen.partitions.items()
                if of.final is not None
            },
            allowed=frozenset() if policy in ONCE or needs_once else frozenset({"consume-duplicate"}),
        )
        if context.bugs:
            # A mutant is the server's whatever the configuration.
            return result
        forgets = may_expire(history, context.config)
        return blamed(result, lambda anomaly: _whose(anomaly, context.config, forgets))


def _whose(anomaly: Anomaly, config: Mapping[str, Any], forgets: bool) -> Blame | None:
    policy = str(config.get("group.policy", "commit-after"))
    match anomaly.name:
        case "consume-duplicate":
            return None if policy in ONCE else Blame.WORKLOAD
        case "dual-ownership" if "nothing fenced it" in anomaly.summary:
            return Blame.WORKLOAD
        case "consume-lost" if "retention had removed it" in anomaly.summary:
            return Blame.CONFIGURATION
        case "consume-lost" if policy in LOSES:
            return Blame.WORKLOAD
        case "consume-lost" if config.get("auto.offset.reset") == "latest":
            return Blame.CONFIGURATION
        case "offset-regression" if forgets and "committed nothing" in anomaly.summary:
            return Blame.CONFIGURATION
    return None
