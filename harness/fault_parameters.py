"""What each kind of fault can be told, declared once: for checking schedules and for the reference docs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from harness.errors import UserError, unknown_name
from harness.schedule import Fault
from harness.settings import Setting
from harness.shapes import DIRECTIONS, HOWS, SHAPES

CLOCK_MODES = ("jump", "drift", "strobe", "scatter", "sawtooth")


def _parameter(name: str, default: Any, doc: str, **limits: Any) -> Setting:
    return Setting(name=name, default=default, doc=doc, scope="fault", **limits)


_LINKS = (
    _parameter("to", "", "A selector: only links between the targets and these; empty: all their links."),
    _parameter("direction", "both", "As seen from the targets.", choices=DIRECTIONS),
)


def _probability(name: str, doc: str) -> Setting:
    return _parameter(name, 0.0, doc, minimum=0, maximum=1)


LISTS = frozenset({"kinds"})
"""Parameters that are lists of names."""

PARAMETERS: Mapping[str, tuple[Setting, ...]] = {
    "partition": (
        _parameter("shape", "isolate", "Which links are cut.", choices=SHAPES),
        _parameter("direction", "both", "As seen from the targets.", choices=DIRECTIONS),
        _parameter("how", "drop", "Silence, a reset, or bytes that arrive after the heal.", choices=HOWS),
        _parameter("clients", False, "Whether links to client hosts are cut too."),
        _parameter("to", "", "A selector: only the links between the targets and these, whatever the shape."),
        _parameter(
            "step", "", "Cuts when the next node reaches this protocol step, or after a quarter of the time."
        ),
    ),
    "kill": (),
    "pause": (),
    "power": (_parameter("torn", False, "Whether the last write may be torn."),),
    "wipe": (),
    "disk-full": (),
    "slow-disk": (
        _parameter("latency_ms", 100.0, "Added to every fsync.", minimum=0),
        _parameter("jitter_ms", 0.0, "Drawn anew for every fsync.", minimum=0),
    ),
    "clock": (
        _parameter(
            "mode",
            "jump",
            "Once; ever faster or slower; to and fro; each target by its own offset; ahead and back in steps.",
            choices=CLOCK_MODES,
        ),
        _parameter("offset_ms", 0.0, "How far the clock is moved; of a scatter: at most, either way."),
        _parameter("rate", 0.0, "Of a drift or a sawtooth: seconds gained in a second.", minimum=-0.999),
        _parameter(
            "period_ms", 100.0, "Of a strobe or a sawtooth: time between two moves or steps back.", minimum=1
        ),
    ),
    "cpu": (_parameter("cores", 0.1, "Of processor time, in processors.", minimum=0.01),),
    "memory": (_parameter("more_mb", 0.0, "What it may get beyond what it has now.", minimum=0),),
    "slow": (
        _parameter("latency_ms", 100.0, "Added to every message.", minimum=0),
        _parameter("jitter_ms", 0.0, "Drawn anew for every message.", minimum=0),
        _parameter("kinds", "", "A list: only messages of these kinds; others overtake them."),
        _parameter(
            "step",
            "",
            "Begins when the next node reaches this protocol step, or after a quarter of the time.",
        ),
        *_LINKS,
    ),
    "flaky": (
        _probability("loss", "Of a packet: a datagram is gone, a stream waits for the retransmission."),
        _parameter("bandwidth_kbps", 0.0, "Kilobits a second; 0: no limit.", minimum=0),
        *_LINKS,
    ),
    "datagrams": (
        _probability("loss", "Of a datagram."),
        _probability("duplicate", "That a datagram arrives twice."),
        _probability("reorder", "That a datagram arrives so late that others overtake it."),
        *_LINKS,
    ),
    "join": (),
    "leave": (),
    "promote": (),
    "replace": (_parameter("by", "one-of(spares)", "A selector: which spare takes the place."),),
    "crash-at": (_parameter("step", "", "The protocol step at which the node dies."),),
}
"""Kind -> parameters, with what holds where a schedule does not say."""


def _check_list(name: str, value: Any) -> None:
    if not isinstance(value, list | tuple) or not value or not all(isinstance(v, str) for v in value):
        raise UserError(f'{name}: expected a list of names, as in ["store"], got {value!r}')


def check_parameters(fault: Fault) -> None:
    """Raises `UserError` for a parameter that the kind does not have, or a value that it cannot take."""
    known = {parameter.name: parameter for parameter in PARAMETERS[fault.kind]}
    for name, value in fault.params.items():
        if name not in known:
            raise unknown_name(f"parameter of {fault.kind}", name, known)
        parameter = known[name]
        if name in LISTS:
            _check_list(name, value)
            continue
        if parameter.choices and value not in parameter.choices:
            raise unknown_name(f"{fault.kind} {name}", str(value), parameter.choices)
        if isinstance(value, str) != (parameter.kind == "str") or isinstance(value, bool) != (
            parameter.kind == "bool"
        ):
            expected = {"str": "text", "bool": "true or false"}.get(parameter.kind, "a number")
            raise UserError(f"{name}: expected {expected}, got {value!r}")
        parameter.parse(value)
    if fault.kind == "crash-at" and not fault.params.get("step"):
        raise UserError("crash-at needs the parameter 'step'")
