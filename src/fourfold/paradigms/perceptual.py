"""Perceptual autoencoders: a bound, and a critic of patches that makes reconstructions look like data.

    bound   beta · KL - log p(x | u) + lambda · [ -D(x^) + feature · sum_l ||f_l(x^) - f_l(x)||^2 / E ||f_l||^2 ]
    critic  max(0, 1 - D(x)) + max(0, 1 + D(x^)) + gamma · (D(x) - D(x + noise))^2

Other models are then trained on their codes (Rombach, Blattmann, Lorenz, Esser, Ommer 2022, High-Resolution Image
Synthesis with Latent Diffusion Models, https://arxiv.org/abs/2112.10752).

The reconstruction ``x^`` is the centre of ``p(x | u)``. The features ``f_l`` are the critic's own, so no weights from
elsewhere are needed (Larsen et al. 2016, https://arxiv.org/abs/1512.09300). ``lambda`` is ``adversarial`` times the
ratio of the two gradients' norms at the reconstruction, so that neither part dominates the other (Esser, Rombach, Ommer
2021, https://arxiv.org/abs/2012.09841). The third part of the critic's loss approximates the penalty R1.
"""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from typing import final

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.weak import WeakTensorKeyDictionary

from fourfold.core import Batch, Term
from fourfold.distributions.observations import located
from fourfold.paradigms.latent import CodedDecoder, Inference

__all__ = ["PerceptualBound"]


@final
class PerceptualBound(Inference):
    """The bound and, from step ``start`` on, the critic and its features. The module's docstring has the formulas.

    Args:
        encoder: maps examples (and labels) to the parameters of the posterior.
        critic: maps examples to numbers of patches and to features, as
            :class:`~fourfold.nn.autoencoder.PatchCritic` does.
        beta, free_nats, label_dropout: as in :class:`~fourfold.paradigms.latent.VariationalBound`.
        adversarial: the weight of critic and features against the likelihood, as a ratio of gradients.
        feature: weight of the features against the critic's numbers.
        gamma: weight of the critic's penalty.
        start: number of steps before critic and features count.
    """

    steps: Tensor

    @property
    def summary(self) -> str:
        kl = "the KL term" if self.beta == 1 else f"{self.beta:g} times the KL term"
        return f"maximise reconstruction less {kl}, and make reconstructions look real to a critic of patches"

    @property
    def formula(self) -> str:
        beta = "" if self.beta == 1 else f"{self.beta:g}·"
        looks = f"λ·(D(x̂) − {self.feature:g}·Σ_l ‖f_l(x̂) − f_l(x)‖² / E‖f_l(x)‖²)"
        return f"max_θ,φ E_q_φ(u|x)[log p_θ(x | u)] − {beta}KL + {looks}"

    def __init__(
        self,
        encoder: nn.Module,
        critic: nn.Module,
        beta: float = 0.1,
        free_nats: float = 0.0,
        label_dropout: float = 0.1,
        adversarial: float = 0.3,
        feature: float = 3.0,
        gamma: float = 10.0,
        start: int = 300,
    ) -> None:
        super().__init__()
        self.encoder, self.critic, self.beta = encoder, critic, beta
        self.free_nats, self.label_dropout = free_nats, label_dropout
        self.adversarial, self.feature, self.gamma, self.start = adversarial, feature, gamma, start
        self.register_buffer("steps", torch.zeros((), dtype=torch.long))

    def terms(self, estimand: CodedDecoder) -> Mapping[str, Term]:
        bound = PerceptualTerm(estimand, self)
        return {"bound": bound, "critic": PatchTerm(bound, self)}


@final
class PerceptualTerm(Term):
    """The first term of :class:`PerceptualBound`.

    It watches what :class:`~fourfold.paradigms.latent.VariationalBound` watches, and ``perceptual``, the bracket.

    Attributes:
        reconstructions: those of each batch, or part of one, for as long as that is in memory.
    """

    def __init__(self, decoder: CodedDecoder, objective: PerceptualBound) -> None:
        super().__init__([decoder, objective.encoder])
        self.decoder, self.objective = decoder, objective
        self.reconstructions: MutableMapping[Tensor, Tensor] = WeakTensorKeyDictionary()

    def forward(self, batch: Batch) -> Tensor:
        settings, posterior = self.objective, self.objective.infer(self.decoder, batch)
        log_likelihood = posterior.observation.log_prob(batch.x)
        self.watched = posterior.watched(log_likelihood)
        loss = posterior.negative_bound(log_likelihood, settings.beta, settings.free_nats)
        observation = located(posterior.observation)
        reconstruction = observation.centre()
        self.reconstructions[batch.x] = reconstruction.detach()
        if settings.training:
            settings.steps += 1
        if int(settings.steps) <= settings.start or not torch.is_grad_enabled():
            return loss
        return loss + self._perceptual(batch.x, reconstruction, observation.mu, log_likelihood)

    def _perceptual(self, x: Tensor, reconstruction: Tensor, mu: Tensor, log_likelihood: Tensor) -> Tensor:
        """``lambda · [...]``, ``(B,)``: its value, and the gradient ``lambda · g`` at the reconstruction."""
        leaf = reconstruction.detach().requires_grad_()
        value = self._bracket(x, leaf)
        (g,) = torch.autograd.grad(value.sum(), leaf)
        (likelihood,) = torch.autograd.grad(log_likelihood.sum(), mu, retain_graph=True)
        likelihood = likelihood if likelihood.ndim == g.ndim else likelihood.sum(1)
        weight = self.objective.adversarial * likelihood.norm() / g.norm().clamp(min=1e-12)
        self.watched["perceptual"] = value.detach().mean()
        through = (weight * g * reconstruction).flatten(1).sum(1)
        return through + (weight * value - through).detach()

    def _bracket(self, x: Tensor, reconstruction: Tensor) -> Tensor:
        """``-D(x^) + feature · sum_l ...`` of each example, ``(B,)``."""
        with torch.no_grad():
            _, targets = self.objective.critic(x)
        number, features = self.objective.critic(reconstruction)
        total = -number.flatten(1).mean(1)
        for f, w in zip(features, targets, strict=True):
            distance = (f - w).float().square().flatten(1).mean(1) / w.float().square().mean().clamp(min=1e-6)
            total = total + self.objective.feature * distance
        return total


@final
class PatchTerm(Term):
    """The critic's term of :class:`PerceptualBound`, on the reconstructions that the first term has just made.

    It watches ``critic_accuracy``, the share of correctly ranked patches.
    """

    def __init__(self, bound: PerceptualTerm, objective: PerceptualBound) -> None:
        super().__init__([objective.critic])
        self.bound, self.objective = bound, objective

    def forward(self, batch: Batch) -> Tensor:
        fake = self._reconstructed(batch)
        n, critic = len(batch.x), self.objective.critic
        noised = batch.x + 0.05 * torch.randn_like(batch.x)
        numbers, _ = critic(torch.cat([batch.x, fake, noised]))
        real, false, near = numbers.flatten(1).split(n)
        self.watched = {"critic_accuracy": (real > false).detach().float().mean()}
        hinge = F.relu(1 - real) + F.relu(1 + false)
        return (hinge + self.objective.gamma * (real - near).square()).mean(1)

    @torch.no_grad()
    def _reconstructed(self, batch: Batch) -> Tensor:
        """The reconstructions of this batch, which the first term kept, or new ones."""
        if (reconstructions := self.bound.reconstructions.get(batch.x)) is not None:
            return reconstructions
        return located(self.objective.infer(self.bound.decoder, batch).observation).centre()
