"""Likelihoods: ways to obtain p(x)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar

from fourfold.core.conditions import Batch
from fourfold.core.estimand import Estimand
from fourfold.core.log_prob import LogProb
from fourfold.core.noise import Noise
from fourfold.core.objective import Objective
from fourfold.vocabulary import Kind

__all__ = ["Likelihood"]


class Likelihood(ABC):
    """A way to obtain p(x): a frozen dataclass of settings."""

    needs: ClassVar[type[Estimand]]

    @property
    def kind(self) -> Kind | None:
        """The kind of number with respect to the codec's measure. ``None``: the kind of its paradigm."""
        return None

    @property
    def summary(self) -> str:
        """The computation of the number, as a clause in plain English."""
        return ""

    def summary_of(self, estimand: Any) -> str:
        """The summary for one estimand, seen as the likelihood needs it."""
        return self.summary

    @abstractmethod
    def __call__(self, estimand: Any, batch: Batch, noise: Noise, objective: Objective) -> LogProb:
        """The typed log-probability of encoded examples, with respect to the codec's measure.

        A bound may need the encoder that the ``objective`` holds. Most likelihoods ignore the objective.
        """
