"""Energy-based: a network gives an unnormalised log-density, and Markov chains draw from it.

    p(x) = exp(-E(x)) / Z,     E(x) = -log q(x) - f(x)     with a normalised reference q

Four principles train an energy. :class:`NoiseContrastive` tells data from draws of the reference, and so learns its
normaliser too (Gutmann, Hyvärinen 2010, https://proceedings.mlr.press/v9/gutmann10a.html).
:class:`ContrastiveDivergence` follows the gradient of the likelihood with chains that are kept from step to step
(Hinton 2002; Tieleman 2008, https://doi.org/10.1145/1390156.1390290; Du, Mordatch 2019,
https://arxiv.org/abs/1903.08689). :class:`EnergyScoreMatching` and :class:`NoisedScoreMatching` fit the gradient of
the energy of noised data (Vincent 2011, https://doi.org/10.1162/NECO_a_00142), and :class:`JointEnergy` trains a
classifier whose logits are an energy (Grathwohl et al. 2020, https://arxiv.org/abs/1912.03263). The restricted
Boltzmann machine is an energy of bits.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fourfold.core import (
    Batch,
    Estimand,
    Likelihood,
    LogProb,
    Noise,
    Objective,
    Term,
    forgetful,
    view,
)
from fourfold.distributions.references import Bernoulli, Normal
from fourfold.distributions.times import log_normal
from fourfold.estimands import ContinuousEnergy, Denoiser, Energy, NoisedEnergy, Reference
from fourfold.estimands.preconditioned import noise_level, total_scale
from fourfold.nn.boltzmann import BoltzmannMachine
from fourfold.paths import Path, broadcast
from fourfold.samplers.chains import FEWEST, split_rhat
from fourfold.samplers.gibbs import Bipartite, BlockGibbs
from fourfold.samplers.langevin import MALA, MarkovChain, reference_of
from fourfold.vocabulary import Kind, Principle

__all__ = [
    "ChainMonitor",
    "ClassifierEnergy",
    "ContrastiveDivergence",
    "EnergyScoreMatching",
    "JointEnergy",
    "NoiseContrastive",
    "NoisedScoreMatching",
    "PreconditionedEnergy",
    "RestrictedBoltzmann",
    "Tilted",
    "Unnormalised",
]


# --- estimands --------------------------------------------------------------------------------------------------------


@final
class Tilted(ContinuousEnergy):
    """``E(x, c) = -log q(x) - f(x, c)``: a reference distribution, tilted by a network.

    Args:
        net: ``f(x, cond)``, examples (and labels) to ``(B,)`` or ``(B, 1)``.
        event: shape of one encoded example.
        reference: ``q``.
    """

    summary = "an unnormalised log-density: a reference distribution, tilted by a network"

    def __init__(self, net: nn.Module, event: tuple[int, ...], reference: Reference) -> None:
        super().__init__()
        self.net, self.event, self.reference = net, tuple(event), reference

    def tilt(self, x: Tensor, cond: Tensor | None = None) -> Tensor:
        """``f(x, c)``, ``(B,)``: the log-ratio of the model's density to the reference's, up to ``log Z``."""
        return self.net(x, cond).float().reshape(len(x))

    def forward(self, x: Tensor, cond: Tensor | None = None) -> Tensor:
        return -self.reference.log_prob(x) - self.tilt(x, cond)


@final
class ClassifierEnergy(ContinuousEnergy):
    """A classifier's logits read as an energy: ``E(x, y) = -log q(x) - f(x)_y``.

    Summed over labels, ``E(x) = -log q(x) - logsumexp_y f(x)_y``, and for any ``q``
    ``p(y | x) = softmax f(x)`` (Grathwohl et al. 2020, https://arxiv.org/abs/1912.03263).

    Args:
        net: ``f``, examples to logits ``(B, classes)``.
        event: shape of one encoded example.
        reference: ``q``.
    """

    summary = "a classifier whose logits are read as an unnormalised log-density"

    def __init__(self, net: nn.Module, event: tuple[int, ...], reference: Reference) -> None:
        super().__init__()
        self.net, self.event, self.reference = net, tuple(event), reference

    def logits(self, x: Tensor) -> Tensor:
        """``f(x)``, ``(B, classes)``."""
        return self.net(x).float()

    def forward(self, x: Tensor, cond: Tensor | None = None) -> Tensor:
        f = self.logits(x)
        mixed = f.logsumexp(1)
        if cond is not None:
            mixed = torch.where(cond < 0, mixed, f.gather(1, cond.clamp(min=0)[:, None])[:, 0])
        return -self.reference.log_prob(x) - mixed


@final
class PreconditionedEnergy(NoisedEnergy):
    """``E(x_t, t) = ||u||^2 / 2 - (alpha sigma_data / sigma) <u, F(u, tau)>`` with ``u = x_t / r``.

    With ``r^2 = alpha^2 sigma_data^2 + sigma^2`` its denoiser is that of Karras et al. 2022 (table 1):
    ``D = c_skip x_t + c_out grad_u <u, F(u, tau)>``. The inner product makes a scalar of any network that
    returns examples (after Salimans, Ho 2021, Should EBMs model the energy or the score?,
    https://openreview.net/forum?id=9AS-TF2jRNb).

    Args:
        net: ``F(u, tau, cond)``, float32 in and out.
        event: shape of one encoded example.
        path: the noise process. The energy of data is that at its first time, so there must be some noise.
        sigma_data: root mean square of the data.

    Raises:
        ValueError: for a path without noise at its first time.
    """

    def __init__(self, net: nn.Module, event: tuple[int, ...], path: Path, sigma_data: float = 0.5) -> None:
        super().__init__()
        if float(path.sigma(torch.tensor(path.t_min, dtype=torch.float64, device="cpu"))) == 0:
            raise ValueError(f"{path} has no noise at t_min, where the energy of data is taken: set t_min above it")
        self.net, self.event, self.path, self.sigma_data = net, tuple(event), path, sigma_data
        last = torch.tensor(path.t_max, dtype=torch.float64, device="cpu")
        self.reference = Normal(event, math.hypot(float(path.alpha(last)) * sigma_data, float(path.sigma(last))))

    def at(self, x_t: Tensor, t: Tensor, cond: Tensor | None = None) -> Tensor:
        alpha, sigma = self.path.alpha(t), self.path.sigma(t)
        u = x_t * broadcast(1 / total_scale(self.path, t, self.sigma_data), x_t)
        g = (u * self.net(u, noise_level(self.path, t), cond)).flatten(1).sum(1)
        return u.flatten(1).square().sum(1) / 2 - (alpha * self.sigma_data / sigma).to(g.dtype) * g


@final
class RestrictedBoltzmann(Bipartite):
    """``E(v, h) = -b·v - c·h - v·W h`` of bits, with the free energy ``F(v) = -b·v - sum_j softplus(c_j + (v W)_j)``.

    Biases may depend on a label. Smolensky 1986, Information Processing in Dynamical Systems; Hinton 2002, Training
    Products of Experts by Minimizing Contrastive Divergence (https://doi.org/10.1162/089976602760128018).

    Args:
        net: biases and weights.
        event: shape of one example of zeros and ones.
        reference: independent bits, from which annealing starts.
        b: inverse temperature; 1 is the machine itself (see :meth:`tempered`).
    """

    reference: Bernoulli
    summary = "an unnormalised log-probability of bits, in which hidden bits are summed out"

    def __init__(self, net: BoltzmannMachine, event: tuple[int, ...], reference: Bernoulli, b: float = 1.0) -> None:
        super().__init__()
        self.net, self.event, self.reference, self.b = net, tuple(event), reference, b
        self.hidden = net.hidden

    def forward(self, x: Tensor, cond: Tensor | None = None) -> Tensor:
        linear, fields = self.net(x.flatten(1), cond)
        free = -self.b * linear - F.softplus(self.b * fields).sum(1)
        if self.b == 1:
            return free
        rest = (1 - self.b) * self.hidden * math.log(2)
        return free + rest - (1 - self.b) * self.reference.log_prob(x)

    def hidden_given(self, v: Tensor, cond: Tensor | None = None) -> Tensor:
        return torch.sigmoid(self.b * self.net(v.flatten(1), cond)[1])

    def visible_given(self, h: Tensor, cond: Tensor | None = None) -> Tensor:
        fields = self.b * self.net.visible(h, cond).reshape(-1, *self.event)
        return torch.sigmoid(fields + (1 - self.b) * self.reference.logits)

    def tempered(self, b: float) -> RestrictedBoltzmann:
        """Weights and biases times ``b``, the reference's biases times ``1 - b`` (Salakhutdinov, Murray 2008)."""
        return RestrictedBoltzmann(self.net, self.event, self.reference, b)


# --- shared by all objectives -----------------------------------------------------------------------------------------

_MOVE, _SMALL_MOVE, _MOVES = MALA(1, 0.01), MALA(1, 1e-3), MALA(10, 0.01)


def _network(energy: Energy) -> nn.Module:
    """The part of an energy that objectives train: all but its reference."""
    assert isinstance(energy.net, nn.Module)
    return energy.net


def _noise(x: Tensor, rows: int | None = None) -> Noise:
    """A stream for a chain per row of ``x``, seeded by torch's generator, which the training loop controls."""
    return Noise(int(torch.randint(2**62, ())), 0, len(x) if rows is None else rows, "train", x.device)


@final
class ChainMonitor(nn.Module):
    """A few chains of the model in training, and the R-hat of their latest draws, which shows whether chains still mix.

    The chains move once in ``every`` steps of training and never start anew. The R-hat is the largest over the energy
    and up to seven coordinates. While the energy changes it also shows drift.

    Args:
        event: shape of one encoded example.
        sampler: makes the moves.
        chains: how many.
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
        """Move if it is time to, and return the R-hat (NaN before the trace is full)."""
        count = int(self.count)
        draw, rest = divmod(count, self.every)
        if count == 0:
            self.x.copy_(reference_of(energy, _noise(self.x)))
        if rest == 0:
            moved = self.sampler.run(energy, _noise(self.x), None, self.x)
            self.x.copy_(moved.x)
            self.trace[:, draw % self.draws, 0] = moved.energy
            self.trace[:, draw % self.draws, 1:] = moved.x.flatten(1)[:, self.coordinates]
        self.count += 1
        if draw + 1 < max(self.draws, FEWEST):
            return self.trace.new_tensor(math.nan)
        return split_rhat(self.trace.roll(-(draw + 1), 1)).max()


@final
class ReferenceTerm(Term):
    """``-log q(x)``: fits the reference distribution by maximum likelihood while the energy is trained."""

    def __init__(self, energy: Energy, rate: float = 5.0) -> None:
        super().__init__([energy.reference], rate)
        self.reference = energy.reference

    def forward(self, batch: Batch) -> Tensor:
        return -self.reference.log_prob(batch.x)


def _with_reference(energy: Energy, terms: Mapping[str, Term]) -> Mapping[str, Term]:
    """The terms, after one for the reference where it has something to learn."""
    learned = any(True for _ in energy.reference.parameters())
    return {"reference": ReferenceTerm(energy), **terms} if learned else terms


# --- noise-contrastive estimation -------------------------------------------------------------------------------------


@final
class NoiseContrastiveTerm(Term):
    """The term of :class:`NoiseContrastive`.

    It watches ``energy_gap``, the mean tilt of data minus that of noise, the ``accuracy`` of telling them apart, and
    ``rhat``.
    """

    def __init__(self, energy: Tilted, objective: NoiseContrastive) -> None:
        super().__init__([_network(energy)])
        self.energy, self.objective = energy, objective

    def forward(self, batch: Batch) -> Tensor:
        x, n, ratio = batch.x, len(batch.x), self.objective.ratio
        y = self.energy.reference.draw(_noise(x, n * ratio))
        cond = forgetful(batch.cond, self.objective.label_dropout)
        both = None if cond is None else cond.repeat(1 + ratio)
        logits = self.energy.tilt(torch.cat([x, y]), both) - math.log(ratio)
        data, noise = logits[:n], logits[n:].view(ratio, n)
        self.watched = {
            "energy_gap": (data.mean() - noise.mean()).detach(),
            "accuracy": ((data > 0).float().mean() + (noise < 0).float().mean()).detach() / 2,
            "rhat": self.objective.monitor(self.energy),
        }
        return F.softplus(-data) + F.softplus(noise).sum(0)


@final
class NoiseContrastive(Objective):
    """``-log s(f(x) - log r) - sum_i log s(log r - f(y_i))`` for ``r`` draws ``y_i`` of the reference.

    ``s`` is the sigmoid. At its minimum ``f = log p - log q``, so that ``Z = 1`` without ever being computed
    (Gutmann, Hyvärinen 2010, https://proceedings.mlr.press/v9/gutmann10a.html). The reference is fitted to the data at
    the same time. It serves where data and reference overlap: in few dimensions.

    Args:
        event: shape of one encoded example.
        ratio: draws of the reference per example.
        label_dropout: share of labels that training hides, so that the model also learns the distribution without one.
        chain: moves the chains that monitor mixing.
    """

    learns: ClassVar[type[Estimand]] = Tilted
    principle = Principle.CONTRASTIVE
    summary = (
        "classify data against draws y of a reference distribution q that is fitted to it (noise-contrastive"
        " estimation)"
    )

    @property
    def formula(self) -> str:
        r = self.ratio
        return (
            f"min_θ −E_x log s(f_θ(x) − log {r}) − {r}·E_y log s(log {r} − f_θ(y)),  f = log p_θ − log q,  s: sigmoid"
        )

    def __init__(
        self, event: tuple[int, ...], ratio: int = 1, label_dropout: float = 0.1, chain: MarkovChain = _MOVE
    ) -> None:
        super().__init__()
        self.ratio, self.label_dropout = ratio, label_dropout
        self.monitor = ChainMonitor(tuple(event), chain)

    def terms(self, estimand: Tilted) -> Mapping[str, Term]:
        return _with_reference(estimand, {"contrast": NoiseContrastiveTerm(estimand, self)})


# --- contrastive divergence -------------------------------------------------------------------------------------------


@final
class ContrastiveDivergenceTerm(Term):
    """The term of :class:`ContrastiveDivergence`.

    It watches ``energy_gap``, the mean energy of samples minus that of data, the ``acceptance`` of the moves, and
    ``rhat``.
    """

    def __init__(self, energy: Energy, objective: ContrastiveDivergence) -> None:
        super().__init__([_network(energy)])
        self.energy, self.objective = energy, objective

    def forward(self, batch: Batch) -> Tensor:
        settings = self.objective
        cond = forgetful(batch.cond, settings.label_dropout) if settings.classes else None
        x = batch.x + settings.data_noise * torch.randn_like(batch.x) if settings.data_noise else batch.x
        y, acceptance = settings.negatives(self.energy, batch.x, cond)
        both = None if cond is None else cond.repeat(2)
        energy = self.energy(torch.cat([x, y]), both)
        data, model = energy.chunk(2)
        tilt = energy + self.energy.reference.log_prob(torch.cat([x, y])).detach()
        self.watched = {
            "energy_gap": (model.mean() - data.mean()).detach(),
            "acceptance": acceptance,
            "rhat": settings.monitor(self.energy),
        }
        return data - model + settings.magnitude * tilt.square().view(2, -1).sum(0)


@final
class ContrastiveDivergence(Objective):
    """``E(x) - E(y) + m (f(x)^2 + f(y)^2)`` for data ``x`` and the model's samples ``y``, drawn by chains that persist.

    Once the chains have converged, its gradient is that of the negative log-likelihood. They live in a replay buffer:
    each step takes some of them, moves them and puts them back. A share of them starts anew from the reference. Each
    label has its own part of the buffer, and samples are drawn for the labels of the data. Tieleman 2008
    (https://doi.org/10.1145/1390156.1390290); Du, Mordatch 2019 (https://arxiv.org/abs/1903.08689).

    Args:
        event: shape of one encoded example.
        sampler: the moves of one step.
        size: chains kept for each label; 0 keeps none and starts at the data (contrastive divergence: Hinton 2002).
        classes: number of labels that the energy depends on, or ``None``.
        restart: share of the chains that start anew.
        magnitude: ``m``, of the penalty on the tilt ``f = -E - log q`` that keeps energies from drifting.
        data_noise: standard deviation of noise that training adds to the data, so that a network can fit their
            distribution.
        label_dropout: share of labels that training hides.
    """

    learns: ClassVar[type[Estimand]] = Energy
    principle = Principle.CONTRASTIVE
    x: Tensor
    filled: Tensor

    @property
    def summary(self) -> str:
        start = "persist from step to step" if self.size else "start at the data"
        return f"lower the energy of data and raise that of samples y, drawn by short Markov chains that {start}"

    @property
    def formula(self) -> str:
        penalty = f" + {self.magnitude:g}·(f_θ(x)² + f_θ(y)²),  f = −E_θ − log q" if self.magnitude else ""
        return f"min_θ E_x[E_θ(x)] − E_y[E_θ(y)]{penalty},  y ~ chains"

    def __init__(
        self,
        event: tuple[int, ...],
        sampler: MarkovChain | BlockGibbs = _MOVES,
        size: int = 4096,
        classes: int | None = None,
        restart: float = 0.05,
        magnitude: float = 0.0,
        data_noise: float = 0.0,
        label_dropout: float = 0.1,
    ) -> None:
        super().__init__()
        self.sampler, self.size, self.classes, self.restart = sampler, size, classes, restart
        self.magnitude, self.data_noise, self.label_dropout = magnitude, data_noise, label_dropout
        self.monitor = ChainMonitor(tuple(event), sampler)
        self.register_buffer("x", torch.zeros(((classes or 0) + 1) * size, *event), persistent=False)
        self.register_buffer("filled", torch.zeros((), dtype=torch.bool), persistent=False)

    def terms(self, estimand: Energy) -> Mapping[str, Term]:
        return _with_reference(estimand, {"divergence": ContrastiveDivergenceTerm(estimand, self)})

    def negatives(self, energy: Energy, data: Tensor, cond: Tensor | None) -> tuple[Tensor, Tensor]:
        """One sample of the model for each row of the data and its label, and the mean acceptance of the moves."""
        if not self.size:
            moved = self.sampler.run(energy, _noise(data), cond, data)
            return moved.x, moved.acceptance.mean()
        if not bool(self.filled):
            self.x.copy_(reference_of(energy, _noise(self.x)))
            self.filled.fill_(True)
        row = torch.zeros(len(data), dtype=torch.long, device=data.device) if cond is None else cond + 1
        slot = row * self.size + torch.randint(self.size, (len(data),), device=data.device)
        noise = _noise(data)
        fresh = (torch.rand(len(data), device=data.device) < self.restart).reshape(-1, *(1,) * (data.ndim - 1))
        start = torch.where(fresh, reference_of(energy, noise), self.x[slot])
        moved = self.sampler.run(energy, noise, cond, start)
        self.x[slot] = moved.x
        return moved.x, moved.acceptance.mean()


# --- a classifier as an energy ----------------------------------------------------------------------------------------


@final
class JointTerm(Term):
    """The term of :class:`JointEnergy`; it watches the ``accuracy`` of labels, and all that its divergence watches."""

    def __init__(self, energy: ClassifierEnergy, objective: JointEnergy, divergence: Term) -> None:
        super().__init__([_network(energy)])
        self.energy, self.objective, self.divergence = energy, objective, divergence

    def forward(self, batch: Batch) -> Tensor:
        loss = self.objective.weight * self.divergence(Batch(batch.x))
        self.watched = dict(self.divergence.watched)
        if batch.cond is None:
            return loss
        logits = self.energy.logits(batch.x)
        known = batch.cond >= 0
        right = (logits.detach().argmax(1) == batch.cond).float() * known
        self.watched["accuracy"] = right.sum() / known.sum().clamp(min=1)
        return loss + F.cross_entropy(logits, batch.cond.clamp(min=0), reduction="none") * known


@final
class JointEnergy(Objective):
    """``-log p(y | x) + weight · (contrastive divergence of p(x))``: the log-likelihood of ``(x, y)`` in two factors.

    Grathwohl et al. 2020 (https://arxiv.org/abs/1912.03263).

    Args:
        divergence: trains the energy without labels.
        weight: of its loss.
    """

    learns: ClassVar[type[Estimand]] = ClassifierEnergy
    principle = Principle.CONTRASTIVE
    formula = "min_θ −log p_θ(label | x) + E_x[E_θ(x)] − E_y[E_θ(y)],  E_θ(x) = −log q(x) − logsumexp f_θ(x)"

    @property
    def summary(self) -> str:
        return f"classify the labels; and {self.divergence.summary}"

    def __init__(self, divergence: ContrastiveDivergence, weight: float = 1.0) -> None:
        super().__init__()
        self.divergence, self.weight = divergence, weight

    def terms(self, estimand: ClassifierEnergy) -> Mapping[str, Term]:
        terms = dict(self.divergence.terms(estimand))
        return {**terms, "divergence": JointTerm(estimand, self, terms["divergence"])}


# --- score matching ---------------------------------------------------------------------------------------------------


@final
class EnergyScoreMatchingTerm(Term):
    """The term of :class:`EnergyScoreMatching`.

    It watches ``energy_gap``, the mean energy of draws of the reference minus that of data, and ``rhat``.
    """

    judges: ClassVar[bool] = True

    def __init__(self, energy: Energy, objective: EnergyScoreMatching) -> None:
        super().__init__([_network(energy)])
        self.energy, self.objective = energy, objective

    @torch.enable_grad()
    def forward(self, batch: Batch) -> Tensor:
        eps, cond = torch.randn_like(batch.x), forgetful(batch.cond, self.objective.label_dropout)
        x = (batch.x + self.objective.sigma * eps).requires_grad_()
        energy = self.energy(x, cond)
        (gradient,) = torch.autograd.grad(energy.sum(), x, create_graph=True)
        with torch.no_grad():
            gap = self.energy(reference_of(self.energy, _noise(x, 64))).mean() - energy.mean()
        self.watched = {"energy_gap": gap, "rhat": self.objective.monitor(self.energy)}
        # a constant of the energy has no gradient, but a parameter must have one: 0 E gives it
        return (self.objective.sigma * gradient - eps).float().square().flatten(1).mean(1) + 0 * energy


@final
class EnergyScoreMatching(Objective):
    """``||sigma grad E(x + sigma eps) - eps||^2 / dims``, least where ``E`` is the energy of data with noise ``sigma``.

    Vincent 2011, A Connection Between Score Matching and Denoising Autoencoders (https://doi.org/10.1162/NECO_a_00142).

    Args:
        event: shape of one encoded example.
        sigma: standard deviation of the noise.
        label_dropout: share of labels that training hides.
        chain: moves the chains that monitor mixing.
    """

    learns: ClassVar[type[Estimand]] = Energy
    principle = Principle.DENOISING
    summary = (
        "match the energy's gradient to the noise added to the data, at one noise level (denoising score matching)"
    )
    formula = "min_θ E_x,ε ‖σ·∇E_θ(x + σε) − ε‖²"

    def __init__(
        self, event: tuple[int, ...], sigma: float = 0.1, label_dropout: float = 0.1, chain: MarkovChain = _MOVE
    ) -> None:
        super().__init__()
        self.sigma, self.label_dropout = sigma, label_dropout
        self.monitor = ChainMonitor(tuple(event), chain)

    def terms(self, estimand: Energy) -> Mapping[str, Term]:
        return _with_reference(estimand, {"score": EnergyScoreMatchingTerm(estimand, self)})


@final
class NoisedScoreMatchingTerm(Term):
    """The term of :class:`NoisedScoreMatching`.

    It watches ``rhat`` and ``energy_gap``, by how much as much noise again raises the energy, per dimension.
    """

    judges: ClassVar[bool] = True

    def __init__(self, energy: NoisedEnergy, objective: NoisedScoreMatching) -> None:
        super().__init__([_network(energy)])
        self.energy, self.objective = energy, objective
        self.denoiser = view(energy, Denoiser)

    @torch.enable_grad()
    def forward(self, batch: Batch) -> Tensor:
        settings, path = self.objective, self.energy.path
        log_sigma, t = log_normal(path, settings.mean, settings.std, len(batch.x), batch.x.device)
        x_t = path.noised(batch.x, torch.randn_like(batch.x), t)
        error = self.denoiser(x_t, t, forgetful(batch.cond, settings.label_dropout)) - batch.x
        weight = settings.sigma_data**-2 + torch.exp(-2 * log_sigma)
        self.watched = {"energy_gap": self._gap(x_t, t), "rhat": settings.monitor(self.energy)}
        return weight * error.float().square().flatten(1).mean(1)

    @torch.no_grad()
    def _gap(self, x_t: Tensor, t: Tensor) -> Tensor:
        """The mean energy of data with twice the noise, minus that of noised data, per dimension; of 16 rows."""
        x_t, t = x_t[:: -(-len(x_t) // 16) or 1], t[:: -(-len(t) // 16) or 1]
        further = x_t + broadcast(self.energy.path.sigma(t), x_t) * torch.randn_like(x_t)
        return (self.energy.at(further, t) - self.energy.at(x_t, t)).mean() / x_t[0].numel()


@final
class NoisedScoreMatching(Objective):
    """``E w(s) ||D(x_t, t) - x||^2 / dims`` with ``D = (x_t - sigma^2 grad E) / alpha``, at every noise level.

    The relative noise level ``s = sigma_t / alpha_t`` has ``log s ~ N(mean, std^2)``, stratified over the
    batch, and ``w = 1 / s^2 + 1 / sigma_data^2`` (Vincent 2011; Song, Ermon 2019,
    https://arxiv.org/abs/1907.05600; weights of Karras et al. 2022, https://arxiv.org/abs/2206.00364).

    Args:
        event: shape of one encoded example.
        mean, std: of the logarithm of the relative noise level.
        sigma_data: root mean square of the data.
        label_dropout: share of labels that training hides.
        chain: moves the chains that monitor mixing, at the least noise.
    """

    learns: ClassVar[type[Estimand]] = NoisedEnergy
    principle = Principle.DENOISING
    summary = "denoise noised data by the energy's gradient, at every noise level (denoising score matching)"
    formula = "min_θ E_t,x,ε  w(t)·‖D_θ(x_t, t) − x‖²,  D_θ = x_t − σ_t²·∇E_θ(x_t, t)"

    def __init__(
        self,
        event: tuple[int, ...],
        mean: float = -1.2,
        std: float = 1.2,
        sigma_data: float = 0.5,
        label_dropout: float = 0.1,
        chain: MarkovChain = _SMALL_MOVE,
    ) -> None:
        super().__init__()
        self.mean, self.std, self.sigma_data, self.label_dropout = mean, std, sigma_data, label_dropout
        self.monitor = ChainMonitor(tuple(event), chain, every=16)

    def terms(self, estimand: NoisedEnergy) -> Mapping[str, Term]:
        return {"score": NoisedScoreMatchingTerm(estimand, self)}


# --- likelihood -------------------------------------------------------------------------------------------------------


@final
@dataclass(frozen=True)
class Unnormalised(Likelihood):
    """``-E(x)``: the log-density up to ``log Z`` (see :func:`fourfold.likelihoods.annealing.bracket_log_z`)."""

    needs: ClassVar[type[Estimand]] = Energy
    kind = Kind.UNNORMALISED
    summary = "−E(x), without log Z, which annealed importance sampling brackets"

    @torch.no_grad()
    def __call__(self, estimand: Energy, batch: Batch, noise: Noise, objective: Objective) -> LogProb:
        learned = isinstance(objective, NoiseContrastive)
        note = "-E(x), without log Z" + (", which training drove towards 0" if learned else "")
        return LogProb(-estimand(batch.x, batch.cond), Kind.UNNORMALISED, note=note)
