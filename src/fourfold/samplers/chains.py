"""Diagnostics of Markov chains: acceptance, split R-hat and effective sample size.

The rank-normalised estimators of Vehtari, Gelman, Simpson, Carpenter, Bürkner 2021 (Rank-normalization, folding, and
localization: an improved R-hat, https://arxiv.org/abs/1903.08008). Draws have the shape ``(chains, draws, *)``; every
entry of ``*`` is a quantity of its own.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

__all__ = ["Chains", "Diagnostics", "effective_sample_size", "rank_normalised", "split_rhat"]

FEWEST = 4
"""The fewest draws of a chain that can be diagnosed."""


def rank_normalised(draws: Tensor) -> Tensor:
    """``z = Phi^-1((r - 3/8) / (S + 1/4))`` for the average rank ``r`` among all ``S`` draws. Same shape, float64."""
    flat = draws.double().reshape(draws.shape[0] * draws.shape[1], -1).T.contiguous()
    ordered = flat.sort(1).values
    below, upto = (torch.searchsorted(ordered, flat, right=right) for right in (False, True))
    u = ((below + upto + 1) / 2 - 0.375) / (flat.shape[1] + 0.25)
    return (math.sqrt(2) * torch.erfinv(2 * u - 1)).T.reshape(draws.shape)


def _split(draws: Tensor) -> Tensor:
    """Each chain cut into its first and its second half. A middle draw is left out."""
    if draws.ndim < 2 or draws.shape[1] < FEWEST:
        raise ValueError(
            f"draws must be (chains, draws, *) with at least {FEWEST} draws, got {tuple(draws.shape)}: run longer"
        )
    half = draws.shape[1] // 2
    return torch.cat([draws[:, :half], draws[:, -half:]])


def _rhat(draws: Tensor) -> Tensor:
    """``sqrt(((N - 1)/N W + B/N) / W)``. 1 where nothing varies."""
    n = draws.shape[1]
    within, between = draws.var(1).mean(0), draws.mean(1).var(0)
    return torch.where(within + between == 0, 1.0, (((n - 1) / n * within + between) / within).sqrt())


def split_rhat(draws: Tensor) -> Tensor:
    """The larger of the split R-hats of the ranks and of the folded ranks, ``(*)``: 1 when all chains agree.

    Folding, ``|x - median|``, sees chains of different spread. Ranks make heavy tails harmless. Above 1.01 chains
    have not mixed.

    Args:
        draws: ``(chains, draws, *)``.

    Raises:
        ValueError: for fewer than 4 draws of a chain.
    """
    parts = _split(draws.double())
    folded = (parts - parts.flatten(0, 1).median(0).values).abs()
    return torch.maximum(_rhat(rank_normalised(parts)), _rhat(rank_normalised(folded)))


def _autocovariance(draws: Tensor) -> Tensor:
    """``c_t = 1/N sum_n (x_n - mean)(x_{n+t} - mean)`` of each chain, by the fast Fourier transform. Same shape."""
    n = draws.shape[1]
    spectrum = torch.fft.rfft(draws - draws.mean(1, keepdim=True), 2 * n, dim=1)
    return torch.fft.irfft(spectrum.abs().square(), 2 * n, dim=1)[:, :n] / n


def _ess(draws: Tensor) -> Tensor:
    """Geyer's initial monotone sequence on autocorrelations that take the spread between chains into account."""
    m, n = draws.shape[:2]
    covariance = _autocovariance(draws).mean(0)
    within = covariance[0] * n / (n - 1)
    total = covariance[0] + (draws.mean(1).var(0) if m > 1 else 0)
    rho = 1 - (within - covariance * n / (n - 1)) / total
    rho[0] = 1.0
    pairs = rho[0 : n - n % 2 : 2] + rho[1::2]
    positive = (pairs > 0).double().cumprod(0)
    tau = -1 + 2 * (pairs.cummin(0).values * positive).sum(0)
    return torch.where(total == 0, float(m * n), m * n / tau.clamp(min=1 / math.log10(m * n)))


def effective_sample_size(draws: Tensor) -> Tensor:
    """The number of independent draws that would determine the bulk of a quantity as well, ``(*)``.

    ``ESS = S / (1 + 2 sum_t rho_t)`` of the rank-normalised split chains, where Geyer's rule cuts the sum
    (Geyer 1992, https://doi.org/10.1214/ss/1177011137).

    Args:
        draws: ``(chains, draws, *)``.

    Raises:
        ValueError: for fewer than 4 draws of a chain.
    """
    return _ess(rank_normalised(_split(draws)))


@final
@dataclass(frozen=True)
class Diagnostics:
    """The diagnosis of a run of chains.

    Attributes:
        acceptance: mean probability with which proposals were accepted (1 for unadjusted chains).
        rhat: the largest split R-hat, over the energy and the kept coordinates.
        ess: the smallest effective sample size of all chains together, over the same quantities.
        chains, draws: how many of each were used.
        step_size: mean over chains, after adaptation.
    """

    acceptance: float
    rhat: float
    ess: float
    chains: int
    draws: int
    step_size: float

    def __str__(self) -> str:
        size = f"{self.chains} chains of {self.draws} draws, step size {self.step_size:.3g}"
        return f"acceptance {self.acceptance:.3f}, R-hat {self.rhat:.3f}, ESS {self.ess:.0f} ({size})"


@final
@dataclass(frozen=True)
class Chains:
    """The result of running Markov chains.

    Attributes:
        x: their last states, ``(B, *event)``.
        energy: the energy of the last states, ``(B,)``.
        acceptance: mean acceptance probability of each chain after warm-up, ``(B,)``.
        step_size: of each chain, ``(B,)``.
        energies: the energy after every step that followed the warm-up, ``(B, steps)``.
        states: the kept states, flat, ``(B, draws, D)``. Empty where ``keep`` was 0.
        earlier: the states at the end of each temperature before these, flat, ``(B, temperatures, D)``. ``None``
            where the chains were not annealed, or ``keep`` was 0.
    """

    x: Tensor
    energy: Tensor
    acceptance: Tensor
    step_size: Tensor
    energies: Tensor
    states: Tensor
    earlier: Tensor | None = None

    def diagnose(self) -> Diagnostics:
        """Acceptance, R-hat and effective sample size of the energy and of the kept coordinates.

        Raises:
            ValueError: for chains of fewer than 4 draws.
        """
        quantities = [self.energies[:, :, None]] + ([self.states] if self.states.shape[1] else [])
        rhat = torch.cat([split_rhat(q).flatten() for q in quantities]).max()
        ess = torch.cat([effective_sample_size(q).flatten() for q in quantities]).min()
        b, draws = self.energies.shape
        return Diagnostics(
            float(self.acceptance.mean()), float(rhat), float(ess), b, draws, float(self.step_size.mean())
        )
