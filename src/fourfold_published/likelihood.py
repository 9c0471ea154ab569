"""The likelihood of a published model that is computed in another way than it was published."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, final

import torch

from fourfold.core import Batch, Estimand, Likelihood, LogProb, Noise, Objective
from fourfold.estimands import Conditionals
from fourfold.vocabulary import Kind

__all__ = ["NotedChainRule"]


@final
@dataclass(frozen=True)
class NotedChainRule(Likelihood):
    """The chain rule, exact for the model as it is computed here, with a note on that.

    Attributes:
        note: the way in which it is computed, for the end of a sentence.
    """

    needs: ClassVar[type[Estimand]] = Conditionals
    kind = Kind.EXACT
    summary = "the chain rule makes log p(x) a sum over the tokens"

    note: str

    def __call__(self, estimand: Conditionals, batch: Batch, noise: Noise, objective: Objective) -> LogProb:
        with torch.no_grad():
            nats = estimand(batch.x, batch.cond).sum(1)
        return LogProb(nats, Kind.EXACT, note=f"chain rule over all tokens, {self.note}")
