"""Presets of the adversarial student of a diffusion model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import nn

from fourfold.core import (
    GenerativeModel,
    Space,
    Training,
)
from fourfold.likelihoods import NoDensity
from fourfold.nn.resnet import ResMLP, ResNetCritic
from fourfold.paradigms.adversarial import NO_DENSITY, AdversarialGame, OnePass, ZeroCentred
from fourfold.paradigms.diffusion import Preconditioned
from fourfold.paradigms.hybrid import DistilledGame, Student
from fourfold.recipes.codes import unconditional
from fourfold.recipes.diffusion import denoising
from fourfold.spaces import Images

__all__ = ["distilled"]


@dataclass(frozen=True)
class _Lessons:
    """What a student's training depends on: the teacher's weight and share of the budget, the student's noise, rates."""

    weight: float
    share: float
    sigma: float
    training: Training


_IMAGES = _Lessons(1.0, 0.5, 5.0, Training(64, 3e-4, warmup=0.05, betas=(0.0, 0.99), ema=0.1, clip=0.0))
_VECTORS = _Lessons(0.1, 0.3, 1.5, Training(256, 1e-3, warmup=0.05, betas=(0.0, 0.99), ema=0.05, clip=0.0))
"""Of vectors a teacher is soon good, and its correction, which pulls samples to where data is densest, soon in the way."""

_CRITIC: Mapping[str, tuple[int, int]] = {"xs": (16, 1), "s": (48, 1), "m": (64, 2)}
"""Width and blocks of the critic."""


def distilled(space: Space, size: str) -> GenerativeModel:
    """A generator of one pass, taught by a diffusion model and a critic.

    Raises:
        TypeError: for a space that is neither images nor vectors.
    """
    unconditional(space)
    teacher, own = denoising(space, size), denoising(space, size)
    assert isinstance(own.estimand, Preconditioned)
    width, blocks = _CRITIC[size]
    critic: nn.Module
    if isinstance(space, Images):
        shape = (space.channels, space.height, space.width)
        critic, every = ResNetCritic(shape, width, blocks, 256, space.classes), 4
    else:
        critic, every = ResMLP(space.dims, 1, 2 * width, 2 * blocks, space.classes), 1
    chosen = _IMAGES if isinstance(space, Images) else _VECTORS
    game = AdversarialGame(critic, penalty=ZeroCentred(0.1), every=every)
    objective = DistilledGame(teacher, game, chosen.weight, share=chosen.share)
    student = Student(own.estimand, chosen.sigma)
    return GenerativeModel(space, own.codec, student, objective, OnePass(), NoDensity(NO_DENSITY), chosen.training)
