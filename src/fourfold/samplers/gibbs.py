"""Block Gibbs sampling of energies whose variables fall into two blocks, each independent given the other."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar, final

import torch
from torch import Tensor

from fourfold.core import Estimand, Measure, Noise, Sampler
from fourfold.estimands import Energy
from fourfold.samplers.chains import Chains
from fourfold.samplers.langevin import reference_of
from fourfold.vocabulary import Cost

__all__ = ["Bipartite", "BlockGibbs"]


class Bipartite(Energy):
    """The free energy of bits ``v`` with hidden bits ``h``: each block is independent given the other."""

    measure = Measure.COUNTING
    hidden: int

    @abstractmethod
    def hidden_given(self, v: Tensor, cond: Tensor | None = None) -> Tensor:
        """``p(h_j = 1 | v)``, ``(B, hidden)``."""

    @abstractmethod
    def visible_given(self, h: Tensor, cond: Tensor | None = None) -> Tensor:
        """``p(v_i = 1 | h)``, ``(B, *event)``."""

    @abstractmethod
    def tempered(self, b: float) -> Bipartite:
        """The energy between ``-log q`` of the reference, ``b = 0``, and this one, ``b = 1``."""


@final
@dataclass(frozen=True)
class BlockGibbs(Sampler):
    """``h ~ p(h | v)``, ``v ~ p(v | h)``, repeatedly. No move is ever rejected.

    Attributes:
        steps: the number of times both blocks are drawn.

    Raises:
        ValueError: for fewer than one step.
    """

    needs: ClassVar[type[Estimand]] = Bipartite
    formula = "h ~ p_θ(h | v),  v ~ p_θ(v | h)"
    cost = Cost.CHAIN
    steps: int = 200

    @property
    def summary(self) -> str:
        return (
            f"run a Markov chain of {self.steps} moves that draws all hidden bits, then all visible ones (block Gibbs)"
        )

    def __post_init__(self) -> None:
        """Refuse a chain without a step."""
        if self.steps < 1:
            raise ValueError(f"steps must be at least 1, got {self.steps}")

    def __call__(self, estimand: Bipartite, noise: Noise, cond: Tensor | None = None) -> Tensor:
        return self.run(estimand, noise, cond).x

    @torch.no_grad()
    def run(
        self,
        energy: Energy,
        noise: Noise,
        cond: Tensor | None = None,
        start: Tensor | None = None,
        keep: int = 0,
    ) -> Chains:
        """Run the chains. The arguments are those of :meth:`fourfold.samplers.langevin.MarkovChain.run`.

        Raises:
            TypeError: for an energy that does not fall into two blocks.
        """
        if not isinstance(energy, Bipartite):
            raise TypeError(f"energy must be Bipartite for BlockGibbs, got {type(energy).__name__}")
        v = reference_of(energy, noise) if start is None else start
        energies, states = [], []
        for i in range(self.steps):
            v = self.step(energy, v, noise, cond)
            energies.append(energy(v, cond))
            if keep and (i + 1) % keep == 0:
                states.append(v.flatten(1))
        trace = torch.stack(states, 1) if states else v.flatten(1)[:, None][:, :0]
        acceptance = v.new_ones(len(v))
        return Chains(v, energies[-1], acceptance, acceptance, torch.stack(energies, 1), trace)

    @staticmethod
    def step(energy: Bipartite, v: Tensor, noise: Noise, cond: Tensor | None = None) -> Tensor:
        """Draw both blocks once. Returns the visible one, ``(B, *event)``."""
        h = (noise.uniform(energy.hidden) < energy.hidden_given(v, cond)).float()
        return (noise.uniform(*energy.event) < energy.visible_given(h, cond)).float()
