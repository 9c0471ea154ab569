"""Chains that run beside the training of an energy, and show whether chains of the model still mix."""

from __future__ import annotations

import math
from typing import final

import torch
from torch import Tensor, nn

from fourfold.core import Noise
from fourfold.estimands import Energy
from fourfold.samplers.chains import FEWEST, split_rhat
from fourfold.samplers.gibbs import BlockGibbs
from fourfold.samplers.langevin import MarkovChain, reference_of

__all__ = ["ChainMonitor"]


@final
class ChainMonitor(nn.Module):
    """A few chains of the model in training, and the R-hat of their latest draws, which shows whether chains still mix.

    The chains move once in ``every`` steps of training and never start anew. The R-hat is the largest over the energy
    and up to seven coordinates. While the energy changes it also shows drift.

    Args:
        event: shape of one encoded example.
        sampler: makes the moves.
        chains: number of chains.
        draws: the latest draws of each chain, over which the R-hat is taken.
        every: steps of training between two draws.
    """

    x: Tensor
    trace: Tensor
    count: Tensor

    def __init__(
        self,
        event: tuple[int, ...],
        sampler: MarkovChain | BlockGibbs,
        chains: int = 8,
        draws: int = 32,
        every: int = 8,
    ) -> None:
        super().__init__()
        self.sampler, self.draws, self.every = sampler, draws, every
        places = torch.linspace(0, math.prod(event) - 1, min(7, math.prod(event)), device="cpu")
        self.coordinates: list[int] = places.long().tolist()
        self.register_buffer("x", torch.zeros(chains, *event), persistent=False)
        self.register_buffer("trace", torch.zeros(chains, draws, 1 + len(self.coordinates)), persistent=False)
        self.register_buffer("count", torch.zeros((), dtype=torch.long), persistent=False)

    def forward(self, energy: Energy) -> Tensor:
        """Move if a move is due, and return the R-hat (NaN before the trace is full)."""
        count = int(self.count)
        draw, rest = divmod(count, self.every)
        if count == 0:
            self.x.copy_(reference_of(energy, Noise.in_training(self.x)))
        if rest == 0:
            moved = self.sampler.run(energy, Noise.in_training(self.x), None, self.x)
            self.x.copy_(moved.x)
            self.trace[:, draw % self.draws, 0] = moved.energy
            self.trace[:, draw % self.draws, 1:] = moved.x.flatten(1)[:, self.coordinates]
        self.count += 1
        if draw + 1 < max(self.draws, FEWEST):
            return self.trace.new_tensor(math.nan)
        return split_rhat(self.trace.roll(-(draw + 1), 1)).max()
