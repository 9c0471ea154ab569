"""Energies trained by denoising score matching: the gradient of the energy predicts the noise that was added to data.

    grad E(x + sigma eps) = eps / sigma on average, where E is the energy of data with that noise

(Vincent 2011, https://doi.org/10.1162/NECO_a_00142). Training needs neither chains nor a normaliser. All noise levels
are learned at once, with an energy whose gradient is a well conditioned denoiser (Song, Ermon 2019,
https://arxiv.org/abs/1907.05600; Karras et al. 2022, https://arxiv.org/abs/2206.00364).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import ClassVar, final

import torch
from torch import Tensor, nn

from fourfold.core import Batch, Estimand, SingleLoss, forgetful, view
from fourfold.distributions.references import Normal
from fourfold.distributions.times import log_normal
from fourfold.estimands import Denoiser, NoisedEnergy
from fourfold.estimands.preconditioned import noise_level, total_scale
from fourfold.maths.paths import Path, broadcast
from fourfold.samplers.langevin import MALA, MarkovChain
from fourfold.samplers.monitor import ChainMonitor
from fourfold.vocabulary import Principle

__all__ = ["NoisedScoreMatching", "PreconditionedEnergy"]

_MOVE = MALA(1, 1e-3)
"""The chain that monitors mixing, of data with the least noise."""


@final
class PreconditionedEnergy(NoisedEnergy):
    """``E(x_t, t) = ||u||^2 / 2 - (alpha sigma_data / sigma) <u, F(u, tau)>`` with ``u = x_t / r``.

    With ``r^2 = alpha^2 sigma_data^2 + sigma^2`` its denoiser is that of Karras et al. 2022 (table 1):
    ``D = c_skip x_t + c_out grad_u <u, F(u, tau)>``. The inner product turns any network that returns examples into a
    scalar (after Salimans, Ho 2021, Should EBMs model the energy or the score?,
    https://openreview.net/forum?id=9AS-TF2jRNb).

    Args:
        net: ``F(u, tau, cond)``, float32 in and out.
        event: shape of one encoded example.
        path: the noise process. The energy of data is that at the first time, where there must be some noise.
        sigma_data: root mean square of the data.

    Raises:
        ValueError: for a path without noise at its first time.
    """

    def __init__(self, net: nn.Module, event: tuple[int, ...], path: Path, sigma_data: float = 0.5) -> None:
        super().__init__()
        if float(path.sigma(torch.tensor(path.t_min, dtype=torch.float64, device="cpu"))) == 0:
            raise ValueError(f"t_min must be a time with noise, got {path.t_min} of {path}: set a larger t_min")
        self.net, self.event, self.path, self.sigma_data = net, tuple(event), path, sigma_data
        last = torch.tensor(path.t_max, dtype=torch.float64, device="cpu")
        self.reference = Normal(event, math.hypot(float(path.alpha(last)) * sigma_data, float(path.sigma(last))))

    def at(self, x_t: Tensor, t: Tensor, cond: Tensor | None = None) -> Tensor:
        alpha, sigma = self.path.alpha(t), self.path.sigma(t)
        u = x_t * broadcast(1 / total_scale(self.path, t, self.sigma_data), x_t)
        g = (u * self.net(u, noise_level(self.path, t), cond)).flatten(1).sum(1)
        return u.flatten(1).square().sum(1) / 2 - (alpha * self.sigma_data / sigma).to(g.dtype) * g


@final
class NoisedScoreMatching(SingleLoss):
    """``E w(s) ||D(x_t, t) - x||^2 / dims`` with ``D = (x_t - sigma^2 grad E) / alpha``, at every noise level.

    The relative noise level ``s = sigma_t / alpha_t`` has ``log s ~ N(mean, std^2)``, stratified over the
    batch, and ``w = 1 / s^2 + 1 / sigma_data^2`` (Vincent 2011; Song, Ermon 2019,
    https://arxiv.org/abs/1907.05600; weights of Karras et al. 2022, https://arxiv.org/abs/2206.00364). Training watches
    ``rhat`` and ``energy_gap``, the rise of the energy, per dimension, when the noise is added a second time.

    Args:
        event: shape of one encoded example.
        mean, std: mean and standard deviation of the logarithm of the relative noise level.
        sigma_data: root mean square of the data.
        label_dropout: share of labels that training hides.
        chain: moves the chains that monitor mixing, at the least noise.
    """

    learns: ClassVar[type[Estimand]] = NoisedEnergy
    principle = Principle.DENOISING
    summary = "denoise noised data by the energy's gradient, at every noise level (denoising score matching)"
    formula = "min_θ E_t,x,ε  w(t)·‖D_θ(x_t, t) − x‖²,  D_θ = x_t − σ_t²·∇E_θ(x_t, t)"
    term, judges = "score", True

    def __init__(
        self,
        event: tuple[int, ...],
        mean: float = -1.2,
        std: float = 1.2,
        sigma_data: float = 0.5,
        label_dropout: float = 0.1,
        chain: MarkovChain = _MOVE,
    ) -> None:
        super().__init__(label_dropout)
        self.mean, self.std, self.sigma_data = mean, std, sigma_data
        self.monitor = ChainMonitor(tuple(event), chain, every=16)

    def updates(self, estimand: NoisedEnergy) -> Sequence[nn.Module]:
        return [estimand.net]

    @torch.enable_grad()
    def loss(self, estimand: NoisedEnergy, batch: Batch) -> tuple[Tensor, Mapping[str, Tensor]]:
        log_sigma, t = log_normal(estimand.path, self.mean, self.std, len(batch.x), batch.x.device)
        x_t = estimand.path.noised(batch.x, torch.randn_like(batch.x), t)
        error = view(estimand, Denoiser)(x_t, t, forgetful(batch.cond, self.label_dropout)) - batch.x
        weight = self.sigma_data**-2 + torch.exp(-2 * log_sigma)
        watched = {"energy_gap": _gap(estimand, x_t, t), "rhat": self.monitor(estimand)}
        return weight * error.float().square().flatten(1).mean(1), watched


@torch.no_grad()
def _gap(energy: NoisedEnergy, x_t: Tensor, t: Tensor) -> Tensor:
    """The mean energy of data with twice the noise, minus that of noised data, per dimension, over 16 rows."""
    x_t, t = x_t[:: -(-len(x_t) // 16) or 1], t[:: -(-len(t) // 16) or 1]
    further = x_t + broadcast(energy.path.sigma(t), x_t) * torch.randn_like(x_t)
    return (energy.at(further, t) - energy.at(x_t, t)).mean() / x_t[0].numel()
