"""An observation model of tokens: a categorical distribution for each position, independent given the code."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cache
from typing import final

import torch
from torch import Tensor

from fourfold.core import Measure, Noise
from fourfold.distributions.observations import Head
from fourfold.estimands import Observation
from fourfold.maths.categorical import categorical

__all__ = ["GroupedTokens", "IndependentTokens", "TokenHead", "grouped_tokens", "like_sizes"]


def like_sizes(sizes: Sequence[int], positions: Collection[int]) -> list[list[int]]:
    """Positions in groups, so that the largest size of each is at most twice the smallest, roughly."""
    groups: list[list[int]] = []
    for i in sorted(positions, key=lambda i: (sizes[i], i)):
        if groups and sizes[i] <= max(2 * sizes[groups[-1][0]], 8):
            groups[-1].append(i)
        else:
            groups.append([i])
    return groups


@final
class GroupedTokens:
    """Positions whose logits lie side by side, ``(B, sum(sizes))``: those of like sizes are computed together.

    Attributes:
        groups: the positions of each group.
    """

    def __init__(self, sizes: Sequence[int]) -> None:
        cpu = torch.device("cpu")  # whatever the device in whose context a model is planned
        self.groups = tuple(map(tuple, like_sizes(sizes, range(len(sizes)))))
        first = torch.tensor([0, *sizes[:-1]], device=cpu).cumsum(0)
        self._places, self._beyond = [], []
        for group in self.groups:
            size = torch.tensor([sizes[i] for i in group], device=cpu)[:, None]
            token = torch.arange(max(sizes[i] for i in group), device=cpu)
            self._places.append(first[list(group)][:, None] + token.minimum(size - 1))
            self._beyond.append(token >= size)

    def log_softmax(self, logits: Tensor) -> tuple[Tensor, ...]:
        """``log p`` of the tokens of each group, ``(B, len(group), tokens)``. ``-inf`` beyond its size."""
        return tuple(
            logits[:, place.to(logits.device)].masked_fill(beyond.to(logits.device), -torch.inf).log_softmax(2)
            for place, beyond in zip(self._places, self._beyond, strict=True)
        )


@cache
def grouped_tokens(sizes: tuple[int, ...]) -> GroupedTokens:
    """:class:`GroupedTokens` of these sizes, made once."""
    return GroupedTokens(sizes)


@final
class IndependentTokens(Observation):
    """``p(x | z) = prod_i softmax(logits_i)[x_i]``.

    Args:
        logits: of all positions side by side, ``(B, sum(sizes))``.
        sizes: tokens of each position.
    """

    def __init__(self, logits: Tensor, sizes: tuple[int, ...]) -> None:
        self.groups = grouped_tokens(sizes).groups
        self.log_p = grouped_tokens(sizes).log_softmax(logits)

    def log_prob(self, x: Tensor) -> Tensor:
        parts = zip(self.groups, self.log_p, strict=True)
        return torch.stack([p.gather(2, x[:, group].unsqueeze(2)).sum((1, 2)) for group, p in parts]).sum(0)

    def draw(self, noise: Noise) -> Tensor:
        u = noise.uniform(sum(map(len, self.groups)))
        parts = [
            categorical(p.flatten(0, 1), u[:, group].flatten()).view(len(u), -1)
            for group, p in zip(self.groups, self.log_p, strict=True)
        ]
        return self._in_order(parts)

    def mean(self) -> Tensor:
        return self._in_order([p.argmax(2) for p in self.log_p])

    def _in_order(self, parts: list[Tensor]) -> Tensor:
        """Tokens of the groups, ``(B, len(group))`` each, in the order of the positions."""
        return torch.cat(parts, 1)[:, torch.tensor([i for group in self.groups for i in group]).argsort()]


@final
@dataclass(frozen=True)
class TokenHead(Head):
    """A logit for each token of each position, side by side.

    Attributes:
        sizes: tokens of each position.
    """

    measure = Measure.COUNTING
    sizes: tuple[int, ...]

    @property
    def values(self) -> int:
        """Logits of the position of most tokens. Of all positions there are ``sum(sizes)``."""
        return max(self.sizes)

    def __call__(self, h: Tensor) -> IndependentTokens:
        return IndependentTokens(h, self.sizes)
