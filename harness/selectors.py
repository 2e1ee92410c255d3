"""Selectors: which nodes a fault hits, said by role and state (`leader(orders/0)`), resolved when it fires.

The grammar stands in `harness.schedule`. A selector is parsed against the names of a run, because names
may contain the `-` that also means set difference: the longest known name wins.
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence

import msgspec

from harness.errors import UserError, unknown_name
from harness.system import ClusterView
from harness.topology import Topology

_DRAWS = ("one-of", "minority", "majority", "random")
_WORD = re.compile(r"[A-Za-z0-9_.]+(?:-[A-Za-z0-9_.]+)*")
FUNCTIONS = (
    "leader",
    "followers",
    "isr",
    "replicas",
    "outside-isr",
    "coordinator",
    "group-coordinator",
    "controller",
)
"""Functions that selectors may use besides those of the run's subjects."""


class Name(msgspec.Struct, frozen=True):
    """A node, a client host, a role in the plural, `all`, `spares` or `clients`."""

    name: str


class Draw(msgspec.Struct, frozen=True):
    """`one-of`, `random`, `minority` or `majority`, of a selector or (None) of all nodes."""

    how: str
    of: Selector | None


class Function(msgspec.Struct, frozen=True):
    """A question to the cluster's state; `argument` None asks for a random subject."""

    function: str
    argument: str | None


class Combined(msgspec.Struct, frozen=True):
    """Union (`+`) or difference (`-`)."""

    left: Selector
    operator: str
    right: Selector


Selector = Name | Draw | Function | Combined


def roles(topology: Topology) -> tuple[str, ...]:
    """The roles of a topology in order of first appearance."""
    return tuple(dict.fromkeys(node.role for node in topology.nodes))


def parse(text: str, topology: Topology) -> Selector:
    """Raises `UserError` that shows the selector, the place, and the nearest known name."""
    parser = _Parser(text, topology)
    selector = parser.expression()
    if parser.position < len(text):
        raise parser.error(f"unexpected '{text[parser.position]}'")
    return selector


class _Parser:
    def __init__(self, text: str, topology: Topology) -> None:
        self.text = text
        self.position = 0
        self._names = (
            {"all", "spares", "clients"}
            | {f"{role}s" for role in roles(topology)}
            | {node.name for node in topology.nodes}
            | set(topology.clients)
        )
        self._functions = set(FUNCTIONS) | set(topology.subjects)

    def error(self, what: str) -> UserError:
        return UserError(f"selector '{self.text}': {what} at position {self.position + 1}")

    def expression(self) -> Selector:
        left = self._term()
        while self._peek() in ("+", "-"):
            operator = self._peek()
            self.position += 1
            left = Combined(left, operator, self._term())
        return left

    def _peek(self) -> str:
        while self.position < len(self.text) and self.text[self.position] == " ":
            self.position += 1
        return self.text[self.position] if self.position < len(self.text) else ""

    def _term(self) -> Selector:
        if self._peek() == "(":
            self.position += 1
            inner = self.expression()
            self._expect(")")
            return inner
        word = self._word()
        if word in _DRAWS:
            return self._draw(word)
        if word in self._functions and word not in self._names:
            return Function(word, self._argument())
        return Name(word)

    def _word(self) -> str:
        """The longest known name that begins here."""
        match = _WORD.match(self.text, self.position)
        if match is None:
            raise self.error("expected a node, a role or a function")
        known = self._names | self._functions | set(_DRAWS)
        word = match.group()
        while word not in known and "-" in word:
            word = word.rpartition("-")[0]
        if word not in known:
            raise UserError(f"selector '{self.text}': {unknown_name('selector', match.group(), known)}")
        self.position += len(word)
        return word

    def _draw(self, how: str) -> Draw:
        if self._peek() != "(":
            if how == "one-of":
                raise self.error("one-of needs a selector in parentheses")
            return Draw(how, None)
        self.position += 1
        inner = self.expression()
        self._expect(")")
        return Draw(how, inner)

    def _argument(self) -> str | None:
        if self._peek() != "(":
            return None
        end = self.text.find(")", self.position)
        if end < 0:
            raise self.error("missing ')'")
        argument = self.text[self.position + 1 : end].strip()
        self.position = end + 1
        return argument

    def _expect(self, character: str) -> None:
        if self._peek() != character:
            raise self.error(f"missing '{character}'")
        self.position += 1


def reaches_clients(text: str, topology: Topology) -> bool:
    """Whether it may come to name a client host, however the cluster stands then."""
    return _reaches_clients(parse(text, topology), topology)


def _reaches_clients(selector: Selector, topology: Topology) -> bool:
    match selector:
        case Name(name):
            return name == "clients" or name in topology.clients
        case Draw(_, of) if of is not None:
            return _reaches_clients(of, topology)
        case Combined(left, "+", right):
            return _reaches_clients(left, topology) or _reaches_clients(right, topology)
        case Combined(left, _, _):
            return _reaches_clients(left, topology)
    return False


def resolve(selector: Selector, topology: Topology, view: ClusterView, rng: random.Random) -> tuple[str, ...]:
    """Node and client-host names, in the topology's order, against the state that `view` knows now. Nodes that are
    spares in `topology` are only reached by their name and by `spares`.

    Empty where nobody is it. Draws come from `rng`. Raises `UserError` for a function that the system
    does not have.
    """
    found = set(_names(selector, topology, view, rng))
    order = [node.name for node in topology.nodes] + list(topology.clients)
    return tuple(name for name in order if name in found)


def _names(selector: Selector, topology: Topology, view: ClusterView, rng: random.Random) -> Sequence[str]:
    match selector:
        case Name(name):
            return _named(name, topology)
        case Draw(how, None):
            return _draw_of_all(how, topology, rng)
        case Draw(how, of) if of is not None:
            return _draw(how, resolve(of, topology, view, rng), rng)
        case Function(function, argument):
            return _ask(function, argument, topology, view, rng)
        case Combined(left, operator, right):
            first = resolve(left, topology, view, rng)
            second = resolve(right, topology, view, rng)
            if operator == "+":
                return [*first, *second]
            return [name for name in first if name not in second]
    raise AssertionError(selector)


def _named(name: str, topology: Topology) -> Sequence[str]:
    if name == "all":
        return [node.name for node in topology.founders]
    if name == "spares":
        return [node.name for node in topology.nodes if node.spare]
    if name == "clients":
        return topology.clients
    if name in topology.clients or any(node.name == name for node in topology.nodes):
        return [name]
    return [node.name for node in topology.founders if f"{node.role}s" == name]


def _draw(how: str, names: Sequence[str], rng: random.Random) -> Sequence[str]:
    if not names:
        return ()
    if how == "majority":
        return rng.sample(list(names), len(names) // 2 + 1)
    if how == "minority":
        return rng.sample(list(names), (len(names) - 1) // 2)
    return [rng.choice(list(names))]


def _draw_of_all(how: str, topology: Topology, rng: random.Random) -> Sequence[str]:
    everyone = [node.name for node in topology.founders]
    if how not in ("minority", "majority"):
        return _draw(how, everyone, rng)
    groups = [[n.name for n in topology.founders if n.role == role] for role in roles(topology)]
    return [name for group in groups for name in _draw(how, group, rng)]


def _ask(
    function: str, argument: str | None, topology: Topology, view: ClusterView, rng: random.Random
) -> Sequence[str]:
    if argument is None:
        subjects = topology.subjects.get(function, ())
        argument = rng.choice(list(subjects)) if subjects else ""
    try:
        return view.select(function, argument)
    except KeyError:
        raise UserError(
            f"selector function '{function}' is not one of this system; it knows: "
            f"{', '.join(sorted(topology.subjects)) or 'none'}"
        ) from None
