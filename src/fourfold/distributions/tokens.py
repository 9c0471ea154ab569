"""An observation model of tokens: a categorical distribution for each piece, independent given the code."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch
import torch.nn.functional as F
from torch import Tensor

from fourfold.core import Measure, Noise, draw
from fourfold.distributions.observations import Head
from fourfold.estimands import Observation

__all__ = ["IndependentTokens", "TokenHead"]


@final
class IndependentTokens(Observation):
    """``p(x | z) = prod_i softmax(logits_i)[x_i]``.

    Args:
        logits: of all pieces side by side, ``(B, sum(sizes))``.
        sizes: tokens of each piece.
    """

    def __init__(self, logits: Tensor, sizes: tuple[int, ...]) -> None:
        self.logits = torch.split_with_sizes(logits, sizes, 1)

    def log_prob(self, x: Tensor) -> Tensor:
        nats = [F.cross_entropy(part, x[:, i], reduction="none") for i, part in enumerate(self.logits)]
        return -torch.stack(nats).sum(0)

    def draw(self, noise: Noise) -> Tensor:
        u = noise.uniform(len(self.logits))
        return torch.stack([draw(part, u[:, i]) for i, part in enumerate(self.logits)], 1)

    def mean(self) -> Tensor:
        return torch.stack([part.argmax(1) for part in self.logits], 1)


@final
@dataclass(frozen=True)
class TokenHead(Head):
    """A logit for each token of each piece, side by side.

    Attributes:
        sizes: tokens of each piece.
    """

    measure = Measure.COUNTING
    sizes: tuple[int, ...]

    @property
    def values(self) -> int:
        """Logits of the piece of most tokens; of all pieces there are ``sum(sizes)``."""
        return max(self.sizes)

    def __call__(self, h: Tensor) -> IndependentTokens:
        return IndependentTokens(h, self.sizes)
