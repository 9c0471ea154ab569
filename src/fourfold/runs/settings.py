"""The settings of a training run, in one dataclass from the command line to the loop."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, final

from fourfold.core import Training
from fourfold.parallel.processes import PARALLEL
from fourfold.runs.budget import Budget, Seconds
from fourfold.runs.precision import parse_precision
from fourfold.vocabulary import AUTO, parse_size

__all__ = ["FitSettings"]

MINUTE = Seconds(60)


@final
@dataclass(frozen=True, kw_only=True)
class FitSettings:
    """The settings of :func:`fourfold.fit`: its defaults, those of its caller, or those that a run recorded.

    Attributes:
        budget: when training ends.
        size: size of the preset; ``auto`` suits this machine, the data and the budget.
        seed: seed of weights, order of the data and every draw.
        training: replaces the preset's settings of training; ``None`` keeps them.
        batch_size, learning_rate, muon_rate: replace single ones of these; a ``muon_rate`` of 0 trains all with AdamW.
        data_options: further arguments of :func:`fourfold.load`.
        precision: precision of the steps; ``None`` takes the fastest that is stable.
        compile: whether steps are compiled; ``None`` compiles where the budget is long enough.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:0`` or ``mps``.
        checkpoint_every: seconds between checkpoints.
        choose: whether the held-out loss chooses the weights to keep.
        parallel: how several processes share the training: ``auto``, ``none``, ``ddp`` or ``fsdp``.
        accumulate: parts of a batch that each process takes one after the other.
        recompute: whether large blocks keep only their inputs for the backward pass; ``None``: where there are any.

    Raises:
        ValueError: for a value out of range, or an unknown precision.
    """

    budget: Budget = MINUTE
    size: str = AUTO
    seed: int = 0
    training: Training | None = None
    batch_size: int | None = None
    learning_rate: float | None = None
    muon_rate: float | None = None
    data_options: Mapping[str, Any] = field(default_factory=dict)
    precision: str | None = None
    compile: bool | None = None
    device: str = "auto"
    checkpoint_every: float = 60.0
    choose: bool = True
    parallel: str = AUTO
    accumulate: int = 1
    recompute: bool | None = None

    def __post_init__(self) -> None:
        if self.seed < 0 or not self.checkpoint_every >= 0:
            raise ValueError(
                f"seed {self.seed}, a checkpoint every {self.checkpoint_every} s: give numbers that are not negative"
            )
        if self.parallel not in PARALLEL:
            raise ValueError(f"parallel {self.parallel!r} is not known: choose one of {', '.join(PARALLEL)}")
        if self.accumulate < 1:
            raise ValueError(f"accumulate {self.accumulate}: a batch is taken in 1 part or more")
        if self.size != AUTO:
            parse_size(self.size)
        parse_precision(self.precision or "float32", bool(self.compile))
        self.applied_to(Training())

    def applied_to(self, preset: Training) -> Training:
        """The settings of training for a preset's settings."""
        given = self.training or preset
        muon_rate = given.muon_rate if self.muon_rate is None else self.muon_rate or None
        return replace(
            given,
            batch_size=given.batch_size if self.batch_size is None else self.batch_size,
            learning_rate=given.learning_rate if self.learning_rate is None else self.learning_rate,
            muon_rate=muon_rate,
        )

    def of_stage(self, budget: Budget) -> FitSettings:
        """The settings of a stage, whose model is trained by the settings of its own preset."""
        return replace(self, budget=budget, training=None, batch_size=None, learning_rate=None, muon_rate=None)
