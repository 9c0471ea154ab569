"""The likelihood of models that have none."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, final

from fourfold.core import Batch, Estimand, Likelihood, LogProb, Noise, Objective, no_likelihood
from fourfold.vocabulary import Kind

__all__ = ["NoDensity"]


@final
@dataclass(frozen=True)
class NoDensity(Likelihood):
    """No likelihood, and the reason.

    Args:
        reason: why the model has no density that can be evaluated, as a clause in plain English.
    """

    needs: ClassVar[type[Estimand]] = Estimand
    kind = Kind.NONE
    reason: str = "the samples of this model have no density that can be evaluated"

    @property
    def summary(self) -> str:
        return self.reason

    def __call__(self, estimand: Estimand, batch: Batch, noise: Noise, objective: Objective) -> LogProb:
        return no_likelihood(len(batch.x), self.reason)
