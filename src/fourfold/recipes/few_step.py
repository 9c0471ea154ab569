"""Presets of few-step models: students of a diffusion model, and MeanFlow."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import singledispatch

from fourfold.core import GenerativeModel, Space, Training
from fourfold.estimands.preconditioned import ConsistencyNetwork, NetworkAverage
from fourfold.likelihoods import NoDensity
from fourfold.maths.paths import EDM, RectifiedFlow
from fourfold.paradigms.few_step import (
    NO_DENSITY,
    ConsistencyDistillation,
    Jumps,
    MeanFlow,
    Renoised,
    TrajectoryDistillation,
)
from fourfold.recipes.diffusion import denoising, parts
from fourfold.spaces import Vectors
from fourfold.vocabulary import parse_size

__all__ = ["Lessons", "consistency", "distilled", "lessons", "mean_flow"]


@dataclass(frozen=True)
class Lessons:
    """The paths from which a student learns, and how many examples are in a batch.

    Attributes:
        paths: number of paths of the teacher's ODE in one set. Few paths would be memorised.
        sets: number of sets.
        batch_size: the most examples in a batch.
        steps: number of steps of the solver that draws the paths. With few steps its error is in the targets.
    """

    paths: int
    sets: int
    batch_size: int
    steps: int = 20


@singledispatch
def lessons(space: Space, size: str) -> Lessons:
    """The lessons of a space: at most about 100 MB of paths, and few at xs."""
    return Lessons(16, 3, 64) if parse_size(size)[0] == "xs" else Lessons(max(min(128, 2**20 // space.dims), 16), 6, 64)


@lessons.register
def _(space: Vectors, size: str) -> Lessons:
    return Lessons(512, 8, 512)


def distilled(space: Space, size: str) -> GenerativeModel:
    """Any jump along the paths of a denoiser."""
    teacher, base, lesson = denoising(space, size), parts(space, size, times=2), lessons(space, size)
    event, rms = base.codec.event, base.codec.rms
    estimand = NetworkAverage(base.net, event, EDM(), rms)
    objective = TrajectoryDistillation(
        teacher, steps=lesson.steps, paths=lesson.paths, sets=lesson.sets, sigma_data=rms
    )
    training = _student(base.training, lesson)
    return GenerativeModel(space, base.codec, estimand, objective, Renoised(), NoDensity(NO_DENSITY), training)


def consistency(space: Space, size: str) -> GenerativeModel:
    """The end of a denoiser's paths, by consistency."""
    teacher, base = denoising(space, size), parts(space, size)
    estimand = ConsistencyNetwork(base.net, base.codec.event, EDM(), base.codec.rms)
    objective, training = ConsistencyDistillation(teacher), _student(base.training, lessons(space, size))
    return GenerativeModel(space, base.codec, estimand, objective, Renoised(), NoDensity(NO_DENSITY), training)


def _student(training: Training, lesson: Lessons) -> Training:
    """A student starts with trained weights: a third of the rates, and smaller batches of images."""
    muon = None if training.muon_rate is None else training.muon_rate / 3
    batch = min(training.batch_size, lesson.batch_size)
    return replace(training, batch_size=batch, learning_rate=training.learning_rate / 3, muon_rate=muon)


def mean_flow(space: Space, size: str) -> GenerativeModel:
    """The average velocity of straight lines, without a teacher."""
    base = parts(space, size, times=2)
    estimand = NetworkAverage(base.net, base.codec.event, RectifiedFlow(), base.codec.rms)
    return GenerativeModel(space, base.codec, estimand, MeanFlow(), Jumps(), NoDensity(NO_DENSITY), base.training)
