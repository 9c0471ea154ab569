"""How a batch is drawn, and how the gradient of a term is made of it.

Training asks for nothing else of privacy: :class:`~fourfold.engine.private.NoisyRule` is another such way.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Protocol, final

import torch
from torch import Tensor

from fourfold.core import Batch, Space, Term, Training
from fourfold.data import Split
from fourfold.engine.loader import Loader
from fourfold.parallel.processes import Processes
from fourfold.runs.budget import Budget, Progress
from fourfold.runs.precision import Precision

__all__ = ["GradientRule", "InTraining", "MeanRule"]


class InTraining(Protocol):
    """A model in training, as a rule sees its :class:`~fourfold.engine.loop.Loop`."""

    terms: Mapping[str, Term]
    device: torch.device
    precision: Precision
    progress: Progress

    def gradient_pass(self) -> list[Tensor]:
        """The gradient of every term on the next batch, which is neither used nor kept."""


class GradientRule(ABC):
    """How batches are drawn, and how gradients are made of them. By default batches are passes over the data.

    Attributes:
        uneven: whether batches and their parts may be of different sizes.
        measures: whether losses are shown, and held-out examples looked at.
    """

    uneven: ClassVar[bool] = False
    measures: ClassVar[bool] = True

    def loader(
        self, split: Split, space: Space, training: Training, seed: int, processes: Processes, parts: int
    ) -> Loader:
        """The batches of training examples by step."""
        return Loader(split, space, training.batch_size, seed, processes.rank, processes.world, parts)

    @abstractmethod
    def add(self, loop: InTraining, name: str, batch: Batch, parts: int, call: Callable[[], Tensor]) -> Tensor:
        """Add the share of one of so many parts of a batch to the gradients of a term. Return its mean loss.

        Args:
            loop: the training.
            name: of the term.
            batch: the part, encoded.
            parts: how many parts this process takes.
            call: the losses of the part, ``(B,)``, by the wrapper of the term.
        """

    def complete(self, loop: InTraining, name: str) -> None:
        """Called once all parts of a batch are added."""

    def planned(self, loop: InTraining, budget: Budget) -> Budget:
        """The budget of a training, before its first step."""
        return budget

    def numbers(self) -> Mapping[str, Tensor]:
        """The tensors of a checkpoint with which a training goes on."""
        return {}

    def load(self, state: Mapping[str, Tensor]) -> None:
        """Continue from :meth:`numbers`."""

    def record(self, loop: InTraining) -> dict[str, Any]:
        """The entries of the card."""
        return {}


@final
class MeanRule(GradientRule):
    """The gradient of the mean loss."""

    def add(self, loop: InTraining, name: str, batch: Batch, parts: int, call: Callable[[], Tensor]) -> Tensor:
        with loop.precision.context(loop.device):
            loss = call().mean()
        if parts > 1:
            loss = loss / parts
        torch.autograd.backward(loss)
        return loss.detach()
