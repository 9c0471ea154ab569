"""The record of one step, and the error of one that cannot be taken."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["Diverged", "Step"]


class Diverged(ArithmeticError):  # noqa: N818 (what happened)
    """A loss or a gradient is not finite."""


@dataclass(frozen=True)
class Step:
    """The record of one step.

    Attributes:
        index: number of steps done, this one included.
        used: fraction of the budget that is used, this step included.
        losses: mean loss of each term.
        norms: norm of each term's gradient before clipping.
        watched: each term's watched scalars, ``term/name``. Empty at steps at which :func:`train` does not read them.
        rate: the factor of the learning rates.
        seconds: duration of the step.
        stage: name of the stage, if the model is trained in stages. Empty for the last one, the model itself.
    """

    index: int
    used: float
    losses: Mapping[str, float]
    norms: Mapping[str, float]
    watched: Mapping[str, float]
    rate: float
    seconds: float
    stage: str = ""
