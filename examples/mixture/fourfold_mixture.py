"""A paradigm in one file: a mixture of Gaussians by maximum likelihood, ``p(x) = sum_k pi_k N(x; m_k, diag s_k^2)``.

    pip install ./examples/mixture
    fourfold info mixture
    fourfold compare two-moons --paradigms mixture,diffusion --budget 10s

The latent variable is the component, and because it can be summed over, the likelihood is exact and no bound is needed.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from fourfold import core
from fourfold.codecs import Standardised
from fourfold.maths.categorical import categorical
from fourfold.spaces import Vectors
from fourfold.vocabulary import Below, Card, FailureMode, Kind, Paradigm, Principle


class Components(core.Part, nn.Module):
    def __init__(self, dim: int, k: int, classes: int) -> None:
        super().__init__()
        self.dim, self.k = dim, k
        self.table = nn.Embedding(classes + 1, k * (2 * dim + 1))  # the last rows: one mixture for each label
        nn.init.normal_(self.table.weight, std=0.7)

    def forward(self, labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        logits, rest = self.table((labels + 1).clamp(min=0)).split([self.k, 2 * self.k * self.dim], 1)
        mean, log_scale = rest.reshape(len(labels), 2, self.k, self.dim).unbind(1)
        return logits.log_softmax(1), mean, (log_scale - 1).clamp(-6, 3)


class Mixture(core.Estimand):
    reads_condition = True  # by its own table

    def __init__(self, net: Components) -> None:
        super().__init__()
        self.net, self.event = net, (net.dim,)

    def forward(self, x: Tensor, cond: Tensor | None = None) -> Tensor:  # log p(x, k) of each component, (B, k)
        log_pi, mean, log_scale = self.net(_labels(len(x), cond, x.device))
        z = (x[:, None] - mean) * torch.exp(-log_scale)
        return log_pi - (0.5 * z.square() + log_scale + 0.5 * math.log(2 * math.pi)).sum(2)


def _labels(n: int, cond: Tensor | None, device: torch.device) -> Tensor:
    return torch.full((n,), -1, device=device) if cond is None else cond


class MaximumLikelihood(core.SingleLoss):
    learns, principle, term = Mixture, Principle.LIKELIHOOD, "likelihood"
    summary, formula = "maximise the log-likelihood", "min_θ −log Σ_k π_k N(x; m_k, diag s_k²)"

    def loss(self, estimand: Mixture, batch: core.Batch) -> tuple[Tensor, Mapping[str, Tensor]]:
        joint = estimand(batch.x, core.forgetful(batch.cond, self.label_dropout))
        entropy = torch.special.entr(joint.softmax(1).mean(0)).sum()  # of the components' use
        watched = {"active_units": entropy.exp().detach(), "kl": (math.log(joint.shape[1]) - entropy).detach()}
        return -joint.logsumexp(1), watched


@dataclass(frozen=True)
class Ancestral(core.Sampler):
    needs = Mixture
    summary, formula = "draw a component, then the example", "k ~ π,  x ~ N(m_k, diag s_k²)"

    def __call__(self, estimand: Mixture, noise: core.Noise, cond: Tensor | None = None) -> Tensor:
        log_pi, mean, log_scale = estimand.net(_labels(len(noise), cond, noise.uniform().device))
        k = categorical(log_pi, noise.uniform())
        row = torch.arange(len(k), device=k.device)
        return mean[row, k] + torch.exp(log_scale[row, k]) * noise.normal(estimand.net.dim)


@dataclass(frozen=True)
class SumOfComponents(core.Likelihood):
    needs, kind, summary = Mixture, Kind.EXACT, "the sum over all components"

    def __call__(
        self, estimand: Mixture, batch: core.Batch, noise: core.Noise, objective: core.Objective
    ) -> core.LogProb:
        return core.LogProb(estimand(batch.x, batch.cond).logsumexp(1).detach(), Kind.EXACT, note="sum over components")


def mixture(space: core.Space, size: str) -> core.GenerativeModel:
    if not isinstance(space, Vectors):
        raise TypeError(f"space must be vectors for a mixture, got {type(space).__name__}")
    k, names = {"xs": 8, "s": 32, "m": 128}[size], space.given.names if space.given else ()
    estimand = Mixture(Components(space.dim, k, len(names)))
    parts = Standardised(space), estimand, MaximumLikelihood(), Ancestral(), SumOfComponents()
    return core.GenerativeModel(space, *parts, core.Training(batch_size=512, learning_rate=0.02))


PLACE = Paradigm.LATENT_VARIABLE
core.register_paradigm(Mixture, Principle.LIKELIHOOD, PLACE)
IDLE = FailureMode("idle components", "a few do all the work", "the nats that their use lacks", "kl", Below(0.5, 1.5))
CARD = Card(name="mixture", paradigm=PLACE, recipes={"gaussians": mixture}, summary="Gaussians.", failure_modes=(IDLE,))
