"""Presets of few-step models: students of a diffusion model, and MeanFlow."""

from __future__ import annotations

from dataclasses import replace

from fourfold.core import (
    GenerativeModel,
    Space,
    Training,
)
from fourfold.likelihoods import NoDensity
from fourfold.paradigms.few_step import (
    NO_DENSITY,
    ConsistencyDistillation,
    ConsistencyNetwork,
    Jumps,
    MeanFlow,
    NetworkAverage,
    Renoised,
    TrajectoryDistillation,
)
from fourfold.paths import EDM, RectifiedFlow
from fourfold.recipes.diffusion import SIZES, denoising, network_of, training_of
from fourfold.spaces import Vectors

__all__ = ["consistency", "distilled", "mean_flow"]


def _sigma_data(space: Space) -> float:
    """Root mean square of encoded examples."""
    return 1.0 if isinstance(space, Vectors) else 0.5


def _held(space: Space, size: str) -> tuple[int, int, int]:
    """Steps of the teacher's solver, paths in a set, and sets: about 100 MB of images at most, and little at xs.

    Fewer steps leave the solver's error in the targets, and few paths are learned by heart.
    """
    if isinstance(space, Vectors):
        return 20, 512, 8
    return (20, 16, 3) if size == "xs" else (20, max(min(128, 2**20 // space.dims), 16), 6)


def distilled(space: Space, size: str) -> GenerativeModel:
    """Any jump along the paths of a denoiser."""
    teacher, preset = denoising(space, size), SIZES[size]
    net, codec = network_of(space, preset, times=2)
    steps, paths, kept = _held(space, size)
    objective = TrajectoryDistillation(teacher, steps=steps, paths=paths, kept=kept, sigma_data=_sigma_data(space))
    estimand = NetworkAverage(net, space.shape, EDM(), _sigma_data(space))
    return GenerativeModel(space, codec, estimand, objective, Renoised(), NoDensity(NO_DENSITY), _student(space, size))


def consistency(space: Space, size: str) -> GenerativeModel:
    """The end of a denoiser's paths, by consistency."""
    teacher, preset = denoising(space, size), SIZES[size]
    net, codec = network_of(space, preset)
    estimand = ConsistencyNetwork(net, space.shape, EDM(), _sigma_data(space))
    objective = ConsistencyDistillation(teacher)
    return GenerativeModel(space, codec, estimand, objective, Renoised(), NoDensity(NO_DENSITY), _student(space, size))


def _student(space: Space, size: str) -> Training:
    """A student starts with trained weights: a third of the rates, and smaller batches of images."""
    training = training_of(space, SIZES[size])
    muon = None if training.muon_rate is None else training.muon_rate / 3
    batch = training.batch_size if isinstance(space, Vectors) else 64
    return replace(training, batch_size=batch, learning_rate=training.learning_rate / 3, muon_rate=muon)


def mean_flow(space: Space, size: str) -> GenerativeModel:
    """The average velocity of straight lines, without a teacher."""
    preset = SIZES[size]
    net, codec = network_of(space, preset, times=2)
    estimand = NetworkAverage(net, space.shape, RectifiedFlow(), _sigma_data(space))
    return GenerativeModel(
        space, codec, estimand, MeanFlow(), Jumps(), NoDensity(NO_DENSITY), training_of(space, preset)
    )
