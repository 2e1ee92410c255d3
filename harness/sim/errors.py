"""What the simulator raises."""

from __future__ import annotations


class EscapesSimulationError(RuntimeError):
    """A simulated program tried to touch the real world. Raised at the call site, naming the call."""

    def __init__(self, call: str, instead: str) -> None:
        super().__init__(f"{call} would leave the simulation: {instead}")
        self.call = call


class SimulationDeadlockError(RuntimeError):
    """Nothing is left that could ever happen, and the scenario is still waiting."""


class DivergenceError(RuntimeError):
    """A replay made another choice than the recording: the first one that differs is named."""


class ProcessKilled(BaseException):
    """Unwinds the callback in whose middle its own process was killed.

    A program may catch it; that gains it nothing, because whatever it then touches raises it again or
    does nothing, and no callback of a dead process ever runs.
    """
