"""Presets of the adversarial student of a diffusion model."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from fourfold.core import GenerativeModel, Space, Training
from fourfold.estimands.preconditioned import Preconditioned
from fourfold.likelihoods import NoDensity
from fourfold.nn.reading import reading_of
from fourfold.nn.resnet import ResMLP, ResNetCritic
from fourfold.paradigms.adversarial import NO_DENSITY, AdversarialGame, OnePass, ZeroCentred
from fourfold.paradigms.hybrid import DistilledGame, Student
from fourfold.recipes.by_space import by_space
from fourfold.recipes.diffusion import denoising
from fourfold.recipes.networks import sides
from fourfold.recipes.sizes import Size, Sizes
from fourfold.spaces import Images, Vectors

__all__ = ["GameLessons", "distilled", "lessons"]

IMAGE_CRITIC: Sizes[Size] = Sizes({"xs": Size(16, 1), "s": Size(48, 1), "m": Size(64, 2)})
VECTOR_CRITIC: Sizes[Size] = Sizes({"xs": Size(32, 2), "s": Size(96, 2), "m": Size(128, 4)})


@dataclass(frozen=True)
class GameLessons:
    """The settings of a student's training.

    Attributes:
        critic: maps encoded examples to one number each.
        every: the critic's penalty is taken at every ``every``-th example.
        weight: weight of the teacher's correction.
        share: the teacher's share of the budget.
        sigma: the noise at which the student uses the denoiser.
        training: rates and batch size.
    """

    critic: nn.Module
    every: int
    weight: float
    share: float
    sigma: float
    training: Training


@by_space(Images)
def lessons(space: Images, size: str) -> GameLessons:
    """Critic, weights and training for a space."""
    critic = ResNetCritic(sides(space), IMAGE_CRITIC[size].width, IMAGE_CRITIC[size].depth, 256, reading_of(space))
    training = Training(64, 3e-4, warmup=0.05, betas=(0.0, 0.99), ema=0.1, clip=0.0)
    return GameLessons(critic, every=4, weight=1.0, share=0.5, sigma=5.0, training=training)


@lessons.register
def _(space: Vectors, size: str) -> GameLessons:
    """A teacher of vectors is good early. Later its correction, which pulls samples to dense regions, does harm."""
    critic = ResMLP(space.dim, 1, VECTOR_CRITIC[size].width, VECTOR_CRITIC[size].depth, reading_of(space))
    training = Training(256, 1e-3, warmup=0.05, betas=(0.0, 0.99), ema=0.05, clip=0.0)
    return GameLessons(critic, every=1, weight=0.1, share=0.3, sigma=1.5, training=training)


def distilled(space: Space, size: str) -> GenerativeModel:
    """A generator of one pass, taught by a diffusion model and a critic."""
    teacher, base, lesson = denoising(space, size), denoising(space, size), lessons(space, size)
    assert isinstance(base.estimand, Preconditioned)
    game = AdversarialGame(lesson.critic, penalty=ZeroCentred(0.1), every=lesson.every)
    objective = DistilledGame(teacher, game, lesson.weight, share=lesson.share)
    student = Student(base.estimand, lesson.sigma)
    return GenerativeModel(space, base.codec, student, objective, OnePass(), NoDensity(NO_DENSITY), lesson.training)
