"""Clients of stores that keep every promise: each operation takes effect at one instant between its two events, or,
where its outcome is unknown, perhaps later, perhaps never."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

from harness.history import History
from harness.ops import Op

Asked = tuple[str, str, Any, dict[str, Any]]
"""f, key, value, fields of the invocation."""


class Store:
    """One of each kind under each key."""

    def __init__(self) -> None:
        self.value: dict[str, Any] = {}
        self.elements: dict[str, list[Any]] = {}
        self.count: dict[str, int] = {}
        self.queue: dict[str, list[Any]] = {}
        self.siblings: dict[str, list[Any]] = {}
        self.next_id = 0
        self.holder: dict[str, int] = {}
        self.token = 0

    def apply(self, f: str, key: str, value: Any, fields: dict[str, Any], process: int) -> tuple[str, Any]:
        """Outcome and answer."""
        if f in ("write", "delete"):
            self.value[key] = value
        elif f in ("read", "final-read") and fields.get("kind") == "set":
            return "ok", list(self.elements.get(key, []))
        elif f in ("read", "final-read") and fields.get("kind") == "counter":
            return "ok", self.count.get(key, 0)
        elif f in ("read", "final-read"):
            return "ok", self.value.get(key)
        elif f == "add" and fields.get("kind") == "counter":
            self.count[key] = self.count.get(key, 0) + value
        elif f == "decrement":
            self.count[key] = self.count.get(key, 0) - value
        elif f == "add":
            self.elements.setdefault(key, []).append(value)
        elif f == "remove":
            self.elements[key] = [e for e in self.elements.get(key, []) if e != value]
        elif f == "enqueue":
            self.queue.setdefault(key, []).append(value)
        elif f == "dequeue":
            return "ok", self.queue[key].pop(0) if self.queue.get(key) else None
        elif f == "drain":
            return "ok", self.queue.pop(key, [])
        elif f == "put":
            kept = [v for v in self.siblings.get(key, []) if v not in fields["saw"]]
            self.siblings[key] = [*kept, value]
        elif f in ("get", "final-get"):
            return "ok", list(self.siblings.get(key, []))
        elif f == "generate":
            self.next_id += 1
            return "ok", self.next_id
        elif f == "acquire":
            if key in self.holder:
                return "fail", None
            self.holder[key], self.token = process, self.token + 1
            return "ok", self.token
        elif f == "release":
            if self.holder.get(key) != process:
                return "fail", None
            del self.holder[key]
        return "ok", value


def legal_history(
    rng: random.Random,
    choose: Callable[[random.Random, int, Store, str], Asked],
    final: str | None,
    steps: int,
) -> History:
    """`choose` says what a client does next (its second argument is fresh every time)."""
    ops: list[Op] = []
    store, keys = Store(), ("x", "y")
    slots: list[tuple[int, Asked | None, tuple[str, Any] | None]] = [(n, None, None) for n in range(4)]
    late: list[tuple[Asked, int]] = []
    fresh = next_process = 10

    def event(process: int, type: str, asked: Asked, value: Any, fields: dict[str, Any]) -> None:
        n = len(ops)
        ops.append(
            Op(
                index=n,
                time=n,
                process=process,
                type=type,
                f=asked[0],
                key=asked[1],
                value=value,
                extra=fields,
            )  # type: ignore[arg-type]
        )

    def apply(asked: Asked, process: int) -> tuple[str, Any]:
        return store.apply(asked[0], asked[1], asked[2], asked[3], process)

    for _ in range(steps):
        if late and rng.random() < 0.1:
            apply(*late.pop(rng.randrange(len(late))))
        n = rng.randrange(len(slots))
        process, open_op, result = slots[n]
        if open_op is None:
            fresh += 1
            asked = choose(rng, fresh, store, rng.choice(keys))
            event(process, "invoke", asked, asked[2], asked[3])
            slots[n] = process, asked, None
        elif result is None:
            draw = rng.random()
            if draw < 0.1:
                event(process, "info", open_op, open_op[2], {})
                late += [(open_op, process)] if rng.random() < 0.5 else []
                slots[n] = next_process, None, None
                next_process += 1
            elif draw < 0.2:
                event(process, "fail", open_op, open_op[2], {})
                slots[n] = process, None, None
            else:
                slots[n] = process, open_op, apply(open_op, process)
        elif rng.random() < 0.1:
            event(process, "info", open_op, open_op[2], {})
            slots[n] = next_process, None, None
            next_process += 1
        else:
            event(process, result[0], open_op, result[1], {})
            slots[n] = process, None, None
    for process, open_op, _ in slots:
        if open_op is not None:
            event(process, "info", open_op, open_op[2], {})
    if final is not None:
        kind = choose(rng, 0, store, "x")[3].get("kind")
        for key in keys:
            asked = (final, key, None, {} if kind is None else {"kind": kind})
            event(1000, "invoke", asked, None, {})
            event(1000, "ok", asked, apply(asked, 1000)[1], {})
    return History(ops)


def of_sets(rng: random.Random, fresh: int, store: Store, key: str) -> Asked:
    draw = rng.random()
    if draw < 0.6:
        return ("add", key, fresh, {"kind": "set"})
    return ("read", key, None, {"kind": "set"})


def of_removals(rng: random.Random, fresh: int, store: Store, key: str) -> Asked:
    elements = store.elements.get(key, [])
    if elements and rng.random() < 0.3:
        return ("remove", key, rng.choice(elements), {"kind": "set"})
    return of_sets(rng, fresh, store, key)


def of_counters(rng: random.Random, fresh: int, store: Store, key: str) -> Asked:
    return rng.choice(
        [
            ("add", key, rng.randint(1, 3), {"kind": "counter"}),
            ("decrement", key, rng.randint(1, 3), {"kind": "counter"}),
            ("read", key, None, {"kind": "counter"}),
        ]
    )


def of_queues(rng: random.Random, fresh: int, store: Store, key: str) -> Asked:
    return ("enqueue", key, fresh, {}) if rng.random() < 0.6 else ("dequeue", key, None, {})


def of_registers(rng: random.Random, fresh: int, store: Store, key: str) -> Asked:
    return ("write", key, fresh, {}) if rng.random() < 0.4 else ("read", key, None, {})


def of_deletes(rng: random.Random, fresh: int, store: Store, key: str) -> Asked:
    return ("delete", key, None, {}) if rng.random() < 0.2 else of_registers(rng, fresh, store, key)


def of_rows(rng: random.Random, fresh: int, store: Store, key: str) -> Asked:
    return ("write", key, [fresh, fresh], {}) if rng.random() < 0.4 else ("read", key, None, {})


def of_carts(rng: random.Random, fresh: int, store: Store, key: str) -> Asked:
    saw = [v for v in store.siblings.get(key, []) if rng.random() < 0.7]
    return ("put", key, fresh, {"saw": saw}) if rng.random() < 0.6 else ("get", key, None, {})


def of_ids(rng: random.Random, fresh: int, store: Store, key: str) -> Asked:
    return ("generate", "x", None, {})


def of_locks(rng: random.Random, fresh: int, store: Store, key: str) -> Asked:
    return (rng.choice(("acquire", "release")), key, None, {})
