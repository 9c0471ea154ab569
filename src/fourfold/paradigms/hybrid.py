"""Hybrids: a paradigm behind a learned codec, or after a teacher of another paradigm.

    log p(x) >= E_q(z|x)[ log p(z) + log p(x | z) - log q(z | x) ]

A codec is trained first and is then frozen. The model of its codes gives ``log p(z)``. Encoder and decoder add the
rest, where another codec has its log-determinant. So a hybrid is sampled, scored, saved and resumed like any other
model, and this file only combines parts.

=========================  ====================================  =======================
name                       generative step                       inherited part
=========================  ====================================  =======================
``latent-diffusion``       diffusion of the codes                an autoencoder of maps
``latent-autoregressive``  a transformer of the codes in order   a tokenizer (FSQ or VQ)
``latent-flow``            a normalizing flow of the codes       an autoencoder
``adversarial-student``    one pass of a generator               a diffusion teacher
=========================  ====================================  =======================
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import ClassVar, final

import torch
from torch import Tensor

from fourfold.core import Batch, Codec, Estimand, GenerativeModel, Objective, Space, Stage, Staged, Term, forgetful
from fourfold.estimands import Pushforward
from fourfold.estimands.preconditioned import Preconditioned
from fourfold.maths.paths import broadcast, time_at
from fourfold.paradigms.adversarial import AdversarialGame, CriticTerm, diversity
from fourfold.vocabulary import Principle

__all__ = ["DistilledGame", "Student", "behind"]


def behind(codec: Codec, step: GenerativeModel, space: Space) -> GenerativeModel:
    """A model of ``space`` that models the codes of a codec with the parts of ``step``.

    Args:
        codec: maps raw examples to codes, which are the examples of ``step``.
        step: gives estimand, objective, sampler, likelihood and training. Its codec is not used.
        space: the space of the raw examples.

    Raises:
        TypeError: if the parts do not fit.
    """
    parts = (step.estimand, step.objective, step.sampler, step.likelihood, step.training_defaults)
    return GenerativeModel(space, codec, *parts)


# --- a student of diffusion -------------------------------------------------------------------------------------------


@final
class Student(Pushforward):
    """``x = D(sigma z, t)`` at the one time ``t`` whose noise is ``sigma``: a denoiser used as a generator.

    At a moderate ``sigma`` the weights of a teacher are a good start: the noise that it denoises gives blurred but
    varied examples (Zhou et al. 2024, https://arxiv.org/abs/2404.04057).

    Args:
        denoiser: a denoiser with a network like the teacher's.
        sigma: the noise level, relative to the scale of the data.
    """

    summary = "a map from noise to examples, without a density: the network of a denoiser, used once"

    def __init__(self, denoiser: Preconditioned, sigma: float = 5.0) -> None:
        super().__init__()
        self.denoiser, self.sigma = denoiser, sigma * denoiser.sigma_data
        self.event = self.latent = denoiser.event
        path = denoiser.path
        t = time_at(path, torch.tensor(-math.log(self.sigma), dtype=torch.float64, device="cpu"))
        self.t, self.level = float(t), float(path.sigma(t))

    def forward(self, z: Tensor, cond: Tensor | None = None) -> Tensor:
        return self.denoiser(self.level * z, torch.full((len(z),), self.t, device=z.device), cond)


@final
class DistilledGame(Objective, Staged):
    """A GAN in which a diffusion teacher corrects every sample.

        generator  b(D(x), D(G(z))) + weight · w(t) ||G(z) - sg(D_teacher(alpha_t G(z) + sigma_t eps, t))||^2 / dims

    The teacher's denoiser moves a noised sample to where data is likely, and the critic judges the details. With
    ``s = sigma_t / alpha_t``: ``w = 1 / (s^2 + sigma_data^2)`` and ``log s ~ N(mean, std^2)``.

    Paper: Sauer, Lorenz, Blattmann, Rombach 2023, Adversarial Diffusion Distillation
    (https://arxiv.org/abs/2311.17042).

    Args:
        teacher: a diffusion model of the same space, with the same codec, which is trained first.
        game: critic, contest and penalty.
        weight: weight of the teacher's correction.
        mean, std: mean and standard deviation of the logarithm of the relative noise level at which the teacher
            corrects.
        share: the teacher's share of the budget.
    """

    learns: ClassVar[type[Estimand]] = Pushforward
    principle = Principle.ADVERSARIAL

    @property
    def summary(self) -> str:
        return f"{self.game.summary}; a diffusion teacher corrects every sample as well"

    @property
    def formula(self) -> str:
        weight = "" if self.weight == 1 else f"{self.weight:g}·"
        return f"{self.game.formula};  G also: min {weight}w(t)·‖G(z) − sg(D_teacher(α_t G(z) + σ_t ε, t))‖²"

    def __init__(
        self,
        teacher: GenerativeModel,
        game: AdversarialGame,
        weight: float = 1.0,
        mean: float = -0.5,
        std: float = 1.0,
        share: float = 0.5,
    ) -> None:
        super().__init__()
        self.teacher, self.game, self.weight, self.share = teacher, game, weight, share
        self.mean, self.std = mean, std

    def stages(self) -> Sequence[Stage]:
        return [Stage("teacher", self.teacher, self.share)]

    def ready(self, estimand: Estimand) -> None:
        """Start the student with the teacher's weights, if it has the teacher's network."""
        if isinstance(estimand, Student):
            estimand.denoiser.load_state_dict(self.teacher.estimand.state_dict())

    def terms(self, estimand: Pushforward) -> Mapping[str, Term]:
        return {"critic": CriticTerm(estimand, self.game), "generator": StudentTerm(estimand, self)}


@final
class StudentTerm(Term):
    """The generator's side of :class:`DistilledGame`. It watches ``diversity`` and ``correction``."""

    def __init__(self, generator: Pushforward, objective: DistilledGame) -> None:
        super().__init__([generator])
        self.generator, self.objective = generator, objective

    def forward(self, batch: Batch) -> Tensor:
        game = self.objective.game
        cond = forgetful(batch.cond, game.label_dropout if self.training else 0.0)
        fake = self.generator(torch.randn(len(batch.x), *self.generator.latent, device=batch.x.device), cond)
        correction = self._correction(fake, cond)
        self.watched = {"diversity": diversity(fake, batch.x), "correction": correction.detach().mean()}
        loss = game.generator_loss(batch.x, fake, cond)
        return loss + self.objective.weight * correction

    def _correction(self, fake: Tensor, cond: Tensor | None) -> Tensor:
        """``w(t) ||x - sg(D(x_t, t))||^2 / dims``, ``(B,)``."""
        teacher = self.objective.teacher.estimand
        assert isinstance(teacher, Preconditioned)
        log_s = self.objective.mean + self.objective.std * torch.randn(len(fake), device=fake.device)
        with torch.no_grad():
            t = time_at(teacher.path, -log_s).float()
            target = teacher(teacher.path.noised(fake, torch.randn_like(fake), t), t, cond)
        weight = 1 / ((2 * log_s).exp() + teacher.sigma_data**2)
        return (broadcast(weight, fake) * (fake - target).square()).flatten(1).mean(1)
