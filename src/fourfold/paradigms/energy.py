"""Energy-based models: a network gives an unnormalised log-density, and Markov chains draw from it.

    p(x) = exp(-E(x)) / Z,     E(x) = -log q(x) - f(x)     with a normalised reference q

The objectives here contrast data with other examples. :class:`NoiseContrastive` distinguishes data from draws of the
reference, and so learns the normaliser too (Gutmann, Hyvärinen 2010, https://proceedings.mlr.press/v9/gutmann10a.html).
:class:`ContrastiveDivergence` follows the gradient of the likelihood with chains that are kept from step to step
(Hinton 2002; Tieleman 2008, https://doi.org/10.1145/1390156.1390290; Du, Mordatch 2019,
https://arxiv.org/abs/1903.08689), and :class:`JointEnergy` does so with a classifier whose logits are an energy
(Grathwohl et al. 2020, https://arxiv.org/abs/1912.03263). The restricted Boltzmann machine is an energy of bits.
Energies trained by score matching are in :mod:`fourfold.paradigms.denoising_energy`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
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
    SingleLoss,
    Space,
    Term,
    forgetful,
    unknown,
)
from fourfold.distributions.references import Bernoulli, with_reference
from fourfold.estimands import Energy, Reference, TiltedReference
from fourfold.nn.boltzmann import BoltzmannMachine
from fourfold.samplers.gibbs import Bipartite, BlockGibbs
from fourfold.samplers.langevin import MALA, MarkovChain, reference_of
from fourfold.samplers.monitor import ChainMonitor
from fourfold.vocabulary import Kind, Principle

__all__ = [
    "ClassifierEnergy",
    "ContrastiveDivergence",
    "JointEnergy",
    "NoiseContrastive",
    "RestrictedBoltzmann",
    "Tilted",
    "Unnormalised",
]


# --- estimands --------------------------------------------------------------------------------------------------------


@final
class Tilted(TiltedReference):
    """``E(x, c) = -log q(x) - f(x, c)``: a reference distribution, tilted by a network.

    Args:
        net: ``f(x, cond)``, maps examples (and labels) to ``(B,)`` or ``(B, 1)``.
        event: shape of one encoded example.
        reference: ``q``.
    """

    summary = "an unnormalised log-density: a reference distribution, tilted by a network"

    def __init__(self, net: nn.Module, event: tuple[int, ...], reference: Reference) -> None:
        super().__init__()
        self.net, self.event, self.reference = net, tuple(event), reference

    def tilt(self, x: Tensor, cond: Tensor | None = None) -> Tensor:
        return self.net(x, cond).float().reshape(len(x))


@final
class ClassifierEnergy(TiltedReference):
    """A classifier's logits read as an energy: ``E(x, y) = -log q(x) - f(x)_y``.

    Summed over labels, ``E(x) = -log q(x) - logsumexp_y f(x)_y``, and for any ``q`` ``p(y | x) = softmax f(x)``
    (Grathwohl et al. 2020, https://arxiv.org/abs/1912.03263).

    Args:
        net: ``f``, examples to logits ``(B, classes)``.
        event: shape of one encoded example.
        reference: ``q``.
    """

    reads_condition = True
    summary = "a classifier whose logits are read as an unnormalised log-density"

    def __init__(self, net: nn.Module, event: tuple[int, ...], reference: Reference) -> None:
        super().__init__()
        self.net, self.event, self.reference = net, tuple(event), reference

    def logits(self, x: Tensor) -> Tensor:
        """``f(x)``, ``(B, classes)``."""
        return self.net(x).float()

    def tilt(self, x: Tensor, cond: Tensor | None = None) -> Tensor:
        """``f(x)_y``, or the logarithm of the sum over all ``y`` where there is no label, ``(B,)``."""
        f = self.logits(x)
        mixed = f.logsumexp(1)
        if cond is None:
            return mixed
        return torch.where(cond < 0, mixed, f.gather(1, cond.clamp(min=0)[:, None])[:, 0])


@final
class RestrictedBoltzmann(Bipartite):
    """``E(v, h) = -b·v - c·h - v·W h`` of bits, with the free energy ``F(v) = -b·v - sum_j softplus(c_j + (v W)_j)``.

    Biases may depend on a label. Smolensky 1986, Information Processing in Dynamical Systems. Hinton 2002, Training
    Products of Experts by Minimizing Contrastive Divergence (https://doi.org/10.1162/089976602760128018).

    Args:
        net: biases and weights.
        event: shape of one example of zeros and ones.
        reference: independent bits, from which annealing starts.
        b: inverse temperature. 1 is the machine itself (see :meth:`tempered`).
    """

    net: BoltzmannMachine
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


_MOVE, _MOVES = MALA(1, 0.01), MALA(10, 0.01)
"""The chains that monitor mixing, and those that draw the samples of contrastive divergence."""

# --- noise-contrastive estimation -------------------------------------------------------------------------------------


@final
class NoiseContrastive(SingleLoss):
    """``-log s(f(x) - log r) - sum_i log s(log r - f(y_i))`` for ``r`` draws ``y_i`` of the reference.

    ``s`` is the sigmoid. At its minimum ``f = log p - log q``, so that ``Z = 1`` without ever being computed
    (Gutmann, Hyvärinen 2010, https://proceedings.mlr.press/v9/gutmann10a.html). The reference is fitted to the data at
    the same time. It needs data and reference that overlap, as they do in few dimensions.

    Training watches ``energy_gap``, the mean tilt of data minus that of noise, the ``accuracy`` of the classification,
    and ``rhat``.

    Args:
        event: shape of one encoded example.
        ratio: draws of the reference per example.
        label_dropout: share of labels that training hides, so that the model also learns the distribution without one.
        chain: moves the chains that monitor mixing.
    """

    learns: ClassVar[type[Estimand]] = TiltedReference
    principle = Principle.CONTRASTIVE
    summary = (
        "classify data against draws y of a reference distribution q that is fitted to it "
        "(noise-contrastive estimation)"
    )
    term = "contrast"

    @property
    def formula(self) -> str:
        r = self.ratio
        return (
            f"min_θ −E_x log s(f_θ(x) − log {r}) − {r}·E_y log s(log {r} − f_θ(y)),  f = log p_θ − log q,  s: sigmoid"
        )

    def __init__(
        self, event: tuple[int, ...], ratio: int = 1, label_dropout: float = 0.1, chain: MarkovChain = _MOVE
    ) -> None:
        super().__init__(label_dropout)
        self.ratio, self.monitor = ratio, ChainMonitor(tuple(event), chain)

    def updates(self, estimand: TiltedReference) -> Sequence[nn.Module]:
        return [estimand.net]

    def terms(self, estimand: TiltedReference) -> Mapping[str, Term]:
        return with_reference(estimand, super().terms(estimand))

    def loss(self, estimand: TiltedReference, batch: Batch) -> tuple[Tensor, Mapping[str, Tensor]]:
        x, n, ratio = batch.x, len(batch.x), self.ratio
        y = estimand.reference.draw(Noise.in_training(x, n * ratio))
        cond = forgetful(batch.cond, self.label_dropout)
        labels = None if cond is None else torch.cat([cond] * (1 + ratio))
        logits = estimand.tilt(torch.cat([x, y]), labels) - math.log(ratio)
        data, noise = logits[:n], logits[n:].view(ratio, n)
        watched = {
            "energy_gap": (data.mean() - noise.mean()).detach(),
            "accuracy": ((data > 0).float().mean() + (noise < 0).float().mean()).detach() / 2,
            "rhat": self.monitor(estimand),
        }
        return F.softplus(-data) + F.softplus(noise).sum(0), watched


# --- contrastive divergence -------------------------------------------------------------------------------------------


@final
class ContrastiveDivergence(SingleLoss):
    """``E(x) - E(y) + m (f(x)^2 + f(y)^2)`` for data ``x`` and the model's samples ``y``, drawn by chains that persist.

    Once the chains have converged, its gradient is that of the negative log-likelihood. They are kept in a replay
    buffer: each step takes some of them, moves them and puts them back. A share of them restarts from the reference.
    Tieleman 2008 (https://doi.org/10.1145/1390156.1390290); Du, Mordatch 2019 (https://arxiv.org/abs/1903.08689).

    ``x`` and ``y`` have the same condition, so that no energy of a condition alone is learned. ``y`` goes on from the
    chain whose condition was the nearest: one of the same label, or of a vector close by.

    Training watches ``energy_gap``, the mean energy of samples minus that of data, the ``acceptance`` of the moves, and
    ``rhat``.

    Args:
        event: shape of one encoded example.
        sampler: the moves of one step.
        size: number of chains kept. 0 keeps none and starts at the data (contrastive divergence: Hinton
            2002).
        given: the space of the conditions that the energy depends on, or ``None``.
        restart: share of the chains that restart from the reference.
        magnitude: ``m``, of the penalty on the tilt ``f = -E - log q`` that keeps energies from drifting.
        data_noise: standard deviation of noise that training adds to the data, so that a network can fit their
            distribution.
        label_dropout: share of labels that training hides.
    """

    learns: ClassVar[type[Estimand]] = Energy
    principle = Principle.CONTRASTIVE
    term = "divergence"
    x: Tensor
    cond: Tensor
    ready: Tensor

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
        given: Space | None = None,
        restart: float = 0.05,
        magnitude: float = 0.0,
        data_noise: float = 0.0,
        label_dropout: float = 0.1,
    ) -> None:
        super().__init__(label_dropout)
        self.sampler, self.size, self.given, self.restart = sampler, size, given, restart
        self.magnitude, self.data_noise = magnitude, data_noise
        self.monitor = ChainMonitor(tuple(event), sampler)
        self.register_buffer("x", torch.zeros(size, *event), persistent=False)
        cond = torch.zeros(1) if given is None else given.unknown(1)
        self.register_buffer("cond", cond.expand(size, *cond.shape[1:]).clone(), persistent=False)
        self.register_buffer("ready", torch.zeros((), dtype=torch.bool), persistent=False)

    def updates(self, estimand: Energy) -> Sequence[nn.Module]:
        return [estimand.net]

    def terms(self, estimand: Energy) -> Mapping[str, Term]:
        return with_reference(estimand, super().terms(estimand))

    def loss(self, estimand: Energy, batch: Batch) -> tuple[Tensor, Mapping[str, Tensor]]:
        cond = forgetful(batch.cond, self.label_dropout) if self.given is not None else None
        x = batch.x + self.data_noise * torch.randn_like(batch.x) if self.data_noise else batch.x
        y, acceptance = self.negatives(estimand, batch.x, cond)
        energy = estimand(torch.cat([x, y]), None if cond is None else torch.cat([cond, cond]))
        data, model = energy.chunk(2)
        tilt = energy + estimand.reference.log_prob(torch.cat([x, y])).detach()
        gap, rhat = (model.mean() - data.mean()).detach(), self.monitor(estimand)
        watched = {"energy_gap": gap, "acceptance": acceptance, "rhat": rhat}
        return data - model + self.magnitude * tilt.square().view(2, -1).sum(0), watched

    def negatives(self, energy: Energy, data: Tensor, cond: Tensor | None) -> tuple[Tensor, Tensor]:
        """One sample of the model for each row of data and its condition, and the mean acceptance of the moves."""
        if not self.size:
            moved = self.sampler.run(energy, Noise.in_training(data), cond, data)
            return moved.x, moved.acceptance.mean()
        if not bool(self.ready):
            self.x.copy_(reference_of(energy, Noise.in_training(self.x)))
            if cond is not None:
                self.cond.copy_(cond[torch.arange(self.size, device=cond.device) % len(cond)])
            self.ready.fill_(True)
        slot, noise = torch.randint(self.size, (len(data),), device=data.device), Noise.in_training(data)
        fresh = torch.rand(len(data), device=data.device) < self.restart
        if cond is not None:
            slot = torch.where(fresh, slot, self._nearest(cond))
            self.cond[slot] = cond
        start = torch.where(fresh.view(-1, *[1] * (data.ndim - 1)), reference_of(energy, noise), self.x[slot])
        moved = self.sampler.run(energy, noise, cond, start)
        self.x[slot] = moved.x
        return moved.x, moved.acceptance.mean()

    def _nearest(self, cond: Tensor) -> Tensor:
        """The chain with the nearest condition to each one, ``(B,)``: one at random of those that are equally near."""
        chains, rows = _numbers(self.cond), _numbers(cond)
        scale = chains.std(0, correction=0).clamp(min=1e-6)
        distance = torch.cdist(rows / scale, chains / scale, compute_mode="donot_use_mm_for_euclid_dist")
        return (distance + 1e-2 * torch.rand_like(distance)).argmin(1)


def _numbers(cond: Tensor) -> Tensor:
    """Conditions as vectors of numbers, ``(B, D + 1)``. The last one says whether all others are unknown."""
    values = cond.reshape(len(cond), -1).double().nan_to_num()
    values = values.where(values.abs() < 2.0**62, 0.0).float()  # the lowest integers are signs, and no quantities
    return torch.cat([values, 10.0 * unknown(cond)[:, None]], 1)


# --- a classifier as an energy ----------------------------------------------------------------------------------------


@final
class JointTerm(Term):
    """The term of :class:`JointEnergy`. It watches the ``accuracy`` of labels and what its divergence watches."""

    def __init__(self, energy: ClassifierEnergy, objective: JointEnergy, divergence: Term) -> None:
        super().__init__([energy.net])
        self.energy, self.objective, self.divergence = energy, objective, divergence

    def forward(self, batch: Batch) -> Tensor:
        loss = self.objective.weight * self.divergence(Batch(batch.x))
        self.watched = dict(self.divergence.watched)
        if batch.cond is None:
            return loss
        logits = self.energy.logits(batch.x)
        labelled = batch.cond >= 0
        right = (logits.detach().argmax(1) == batch.cond).float() * labelled
        self.watched["accuracy"] = right.sum() / labelled.sum().clamp(min=1)
        return loss + F.cross_entropy(logits, batch.cond.clamp(min=0), reduction="none") * labelled


@final
class JointEnergy(Objective):
    """``-log p(y | x) + weight · (contrastive divergence of p(x))``: the log-likelihood of ``(x, y)`` in two factors.

    Grathwohl et al. 2020 (https://arxiv.org/abs/1912.03263).

    Args:
        divergence: trains the energy without labels.
        weight: weight of the divergence.
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
        normalised = isinstance(objective, NoiseContrastive)
        note = "-E(x), without log Z" + (", which training drove towards 0" if normalised else "")
        return LogProb(-estimand(batch.x, batch.cond), Kind.UNNORMALISED, note=note)
