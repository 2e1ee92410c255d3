"""Who waits for real nodes to reach a step of their protocol (`harness.cluster.Cluster.arm`).

A node that reaches an armed step stops itself and says so (`harness.control`); whoever hears of it calls `reached`, and
lets the node go on if it is still to live.
"""

from __future__ import annotations

from collections.abc import Callable

from harness import control

Action = Callable[[str], None]


class Steps:
    def __init__(self, tell: Callable[[str, control.Arm], None]) -> None:
        """`tell(node, arm)` asks it of the node, of the present process and every later one."""
        self._tell = tell
        self._actions: dict[tuple[str, str], list[Action]] = {}

    def arm(self, node: str, step: str, action: Action) -> Callable[[], None]:
        """The action is called at every time the node gets there, until it is disarmed."""
        actions = self._actions.setdefault((node, step), [])
        actions.append(action)
        if len(actions) == 1:
            self._tell(node, control.Arm(step, True))

        def disarm() -> None:
            if action not in actions:
                return
            actions.remove(action)
            if not actions:
                self._tell(node, control.Arm(step, False))

        return disarm

    def reached(self, node: str, step: str) -> None:
        for action in list(self._actions.get((node, step), ())):
            action(node)
