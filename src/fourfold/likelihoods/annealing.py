"""The normaliser of an energy between two stochastic bounds: annealed importance sampling, forwards and in reverse.

With ``E_0 = -log q`` of the reference, ``E_K = E`` and moves ``T_k`` that leave ``exp(-E_k)`` invariant, forward
chains give

    log w = sum_k E_{k-1}(x_{k-1}) - E_k(x_{k-1}),   x_0 ~ q, x_k ~ T_k(x_{k-1}),   E[w] = Z

(Neal 2001, https://arxiv.org/abs/physics/9803008), so that the logarithm of their mean is below ``log Z`` on average.
Chains from exact samples that run the other way have weights with ``E[w'] = 1/Z``, and end above it (Grosse,
Ghahramani, Adams 2015, https://arxiv.org/abs/1511.02543; Burda, Grosse, Salakhutdinov 2015,
https://arxiv.org/abs/1412.8566).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from fourfold.core import Noise, Sampler
from fourfold.estimands import ContinuousEnergy, Energy, NoisedEnergy
from fourfold.samplers.gibbs import Bipartite, BlockGibbs
from fourfold.samplers.langevin import HMC, Annealed, Bridge, MarkovChain, Metropolis, State, reference_of

__all__ = ["LogZ", "bracket_log_z"]

SETTLING = 20
"""Moves of a pilot run at the reference to find a step size. The first guess may be wrong by powers of ten.
"""


@final
@dataclass(frozen=True)
class LogZ:
    """``log Z`` between two stochastic bounds, in nats.

    Attributes:
        lower: log of the mean forward weight: at most ``log Z`` on average.
        upper: minus the log of the mean reverse weight: at least ``log Z`` on average, if the samples were exact.
        lower_error, upper_error: their standard errors over chains, by the delta method.
        chains, temperatures: the numbers of both.
        note: where the reverse chains started.
    """

    lower: float
    upper: float
    lower_error: float
    upper_error: float
    chains: int
    temperatures: int
    note: str = ""

    def interval(self, errors: float = 3.0) -> tuple[float, float]:
        """The two bounds, widened on each side by ``errors`` standard errors."""
        return self.lower - errors * self.lower_error, self.upper + errors * self.upper_error

    def __str__(self) -> str:
        ends = f"{self.lower:.4g} ± {self.lower_error:.2g} .. {self.upper:.4g} ± {self.upper_error:.2g}"
        return f"log Z in {ends} nats ({self.chains} chains, {self.temperatures} temperatures; {self.note})"


@final
class _Ladder:
    """The bridging distributions of an energy and the moves between them, whose step sizes a pilot run has fixed."""

    def __init__(
        self, energy: Energy, chain: Metropolis | BlockGibbs, temperatures: int, moves: int, cond: Tensor | None
    ) -> None:
        self.chain, self.moves, self.cond = chain, moves, cond
        self.energies = _bridges(energy, temperatures)
        self.steps = [chain.step_size if isinstance(chain, Metropolis) else 1.0] * (temperatures + 1)

    def weight(self, x: Tensor, k: int, other: int) -> Tensor:
        """``E_k(x) - E_other(x)``, ``(B,)`` float64."""
        with torch.no_grad():
            return (self.energies[k](x, self.cond) - self.energies[other](x, self.cond)).double()

    def move(self, x: Tensor, k: int, noise: Noise) -> tuple[Tensor, float]:
        """The moves of temperature ``k`` and their mean acceptance."""
        energy, chain = self.energies[k], self.chain
        if isinstance(chain, BlockGibbs):
            assert isinstance(energy, Bipartite)
            for _ in range(self.moves):
                x = chain.step(energy, x, noise, self.cond)
            return x, 1.0
        return self._followed(energy, chain, x, self.steps[k], noise)

    def _followed(
        self, energy: Energy, chain: Metropolis, x: Tensor, size: float, noise: Noise
    ) -> tuple[Tensor, float]:
        def potential(z: Tensor) -> Tensor:
            return energy(z, self.cond)

        state, step, total = State.at(potential, x), x.new_full((len(x),), size), 0.0
        for _ in range(self.moves):
            state, acceptance = chain.move(potential, state, step, noise)
            total += float(acceptance.mean()) / self.moves
        return state.x, total

    def pilot(self, x: Tensor, noise: Noise) -> None:
        """Set the step size of every temperature by forward chains, whose acceptance leads it to the target.

        At the reference they first take enough moves to reach a fair step size from any.
        """
        if isinstance(self.chain, BlockGibbs):
            return
        size = self.steps[0]
        for k in [0] * SETTLING + list(range(1, len(self.energies))):
            self.steps[k] = size
            x, acceptance = self.move(x, k, noise)
            size *= math.exp(0.5 * (acceptance - self.chain.target))
            self.steps[k] = size

    def forward(self, x: Tensor, noise: Noise) -> Tensor:
        """``log w`` of chains from the reference, ``(B,)``."""
        total = torch.zeros(len(x), dtype=torch.float64, device=x.device)
        for k in range(1, len(self.energies)):
            total += self.weight(x, k - 1, k)
            x, _ = self.move(x, k, noise)
        return total

    def reverse(self, x: Tensor, noise: Noise) -> Tensor:
        """``log w'`` of chains from samples, ``(B,)``."""
        total = torch.zeros(len(x), dtype=torch.float64, device=x.device)
        for k in reversed(range(1, len(self.energies))):
            x, _ = self.move(x, k, noise)
            total += self.weight(x, k, k - 1)
        return total


@final
class _Level(ContinuousEnergy):
    """The energy of one noise level, ``E(x, t)``."""

    def __init__(self, energy: NoisedEnergy, t: float) -> None:
        super().__init__()
        self.energy, self.t, self.event, self.reference = energy, t, energy.event, energy.reference

    def forward(self, x: Tensor, cond: Tensor | None = None) -> Tensor:
        return self.energy.at(x, torch.full((len(x),), self.t, device=x.device), cond)


def _bridges(energy: Energy, temperatures: int) -> list[Energy]:
    """The bridging distributions from the reference to the energy: geometric, unless the energy has better ones.

    An energy of two blocks is tempered. An energy of noised data has its own noise levels, at which modes part one
    after the other, each with its share of the mass. A wide reference tempered towards data would meet them all at
    once.
    """
    if isinstance(energy, Bipartite):
        return [energy.tempered(k / temperatures) for k in range(temperatures + 1)]
    if isinstance(energy, NoisedEnergy) and temperatures > 1:
        levels = energy.path.grid(temperatures - 1).tolist()
        return [Bridge(energy, 0.0), *(_Level(energy, t) for t in levels[:-1]), energy]
    reference = energy.reference.at_rest()
    return [Bridge(energy, k / temperatures, reference) for k in range(temperatures + 1)]


def _log_mean(log_w: Tensor) -> tuple[float, float]:
    """``log mean w`` and its standard error by the delta method."""
    mean = log_w.logsumexp(0) - math.log(len(log_w))
    return float(mean), float((log_w - mean).exp().std()) / math.sqrt(len(log_w))


def bracket_log_z(
    energy: Energy,
    chain: MarkovChain | BlockGibbs | None = None,
    *,
    chains: int = 128,
    temperatures: int = 500,
    moves: int = 1,
    samples: Tensor | None = None,
    sampler: Sampler | None = None,
    cond: Tensor | None = None,
    seed: int = 0,
) -> LogZ:
    """Bracket the log-normaliser of an energy by annealing from its reference and back.

    Args:
        energy: an energy with a normalised reference.
        chain: the kernel that moves the chains. By default block Gibbs where the energy allows it, else HMC with steps
            that a pilot run adapts at every temperature. Both bounds rest on moves that leave every bridge invariant.
        chains: number of chains in each direction.
        temperatures: number of bridging distributions, or of noise levels for an energy of noised data. More of them
            tighten the bracket.
        moves: number of moves at each temperature.
        samples: exact samples of the energy, encoded, ``(chains, *event)``, if there are any.
        sampler: draws approximate ones otherwise. By default :class:`~fourfold.samplers.langevin.Annealed`. The upper
            bound then holds only as far as these are samples of the energy, and the note says so.
        cond: the condition, for a conditional energy: one example of the space of conditions.
        seed: fixes every random number.

    Raises:
        TypeError: for a chain whose moves do not leave the energy's distribution invariant, such as Langevin.
        ValueError: for fewer than two chains, no temperature, or another number of samples than of chains.
    """
    if chains < 2 or temperatures < 1:
        raise ValueError(f"chains must be at least 2 and temperatures at least 1, got {chains} and {temperatures}")
    if samples is not None and len(samples) != chains:
        raise ValueError(f"samples must be as many as chains, got {len(samples)} samples and {chains} chains")
    chain = _invariant(energy, chain)
    noise = [Noise(seed, 0, chains, f"ais/{part}") for part in ("pilot", "forward", "start", "reverse")]
    cond = None if cond is None else cond.expand(chains, *cond.shape)
    ladder = _Ladder(energy, chain, temperatures, moves, cond)
    ladder.pilot(reference_of(energy, noise[0]), noise[0])
    low = _log_mean(ladder.forward(reference_of(energy, noise[1]), noise[1]))
    start, note = _start(energy, sampler, samples, noise[2], cond)
    high = _log_mean(ladder.reverse(start, noise[3]))
    return LogZ(low[0], -high[0], low[1], high[1], chains, temperatures, note)


def _invariant(energy: Energy, chain: MarkovChain | BlockGibbs | None) -> Metropolis | BlockGibbs:
    """The chain, or the default one, if its moves leave the distribution of the energy invariant."""
    bits = isinstance(energy, Bipartite)
    chain = chain or (BlockGibbs(1) if bits else HMC(1, 0.2, leaps=4))
    if isinstance(chain, Metropolis | BlockGibbs) and isinstance(chain, BlockGibbs) == bits:
        return chain
    way = "BlockGibbs(1)" if bits else "a kernel with a Metropolis rule, such as HMC or MALA"
    raise TypeError(
        f"chain must leave the distribution of a {type(energy).__name__} invariant, so that both bounds hold, got "
        f"{type(chain).__name__}: give {way}"
    )


def _start(
    energy: Energy, sampler: Sampler | None, samples: Tensor | None, noise: Noise, cond: Tensor | None
) -> tuple[Tensor, str]:
    """The states from which reverse chains start, and a note on how exact they are."""
    if samples is not None:
        return samples, "reverse chains from the samples given"
    if sampler is None:
        sampler = BlockGibbs(1000) if isinstance(energy, Bipartite) else Annealed()
    with torch.no_grad():
        return sampler(energy, noise, cond), f"reverse chains from approximate samples by {type(sampler).__name__}"
