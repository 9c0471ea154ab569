"""Baselines: models in closed form."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar, Self

from torch import Tensor

from fourfold.core.log_prob import LogProb
from fourfold.core.space import Space

__all__ = ["Baseline"]


class Baseline(ABC):
    """A model that is counted or computed from the training data at once: no gradient, no step, no network.

    It shows the score of simple counting: a trained model that loses to it has learned less than that.

    Attributes:
        name: in two or three words.
        summary: the model in one sentence.
        recipe: the full name of one whose models begin from such a baseline or contain it, if there is one.
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    recipe: ClassVar[str] = ""

    @classmethod
    @abstractmethod
    def fit(cls, space: Space, x: Tensor) -> Self:
        """The model of raw training examples ``(N, *shape)``."""

    @abstractmethod
    def sample(self, n: int, seed: int = 0) -> Tensor:
        """``n`` raw examples. The first ones of a seed are the same for any ``n``."""

    @abstractmethod
    def log_prob(self, x: Tensor, seed: int = 0) -> LogProb:
        """The typed log-probability of raw examples ``(B, *shape)``."""
