"""Measures: pure functions of samples and references, each a :class:`Measurement` with protocol, interval and floor.

>>> import torch
>>> x, y = torch.randn(200, 3), torch.randn(200, 3)
>>> frechet_distance(x, y, features="standardised").n
200
"""

from __future__ import annotations

import importlib
from typing import Any

from fourfold.metrics.calibration import interval_coverage, rank_deviation, ranks
from fourfold.metrics.conditional import crps, energy_score
from fourfold.metrics.features import (
    EfficientNetLite0,
    Features,
    Inception,
    Pixels,
    StandardisedColumns,
    cached,
    image_features,
)
from fourfold.metrics.floor import Draws, choose_draws, floor_of
from fourfold.metrics.frechet import frechet_difference, frechet_distance, gaussian_distance
from fourfold.metrics.images import detail_ratio
from fourfold.metrics.mauve import frontier_area, mauve
from fourfold.metrics.measures import by_draws, by_features, by_frechet, by_neighbours
from fourfold.metrics.mmd import median_bandwidth, mmd
from fourfold.metrics.neighbours import coverage, density, memorisation_ratio, precision, recall
from fourfold.metrics.pairs import by_pairs
from fourfold.metrics.references import References
from fourfold.metrics.score import Floor, Measurement, bootstrap, jackknife
from fourfold.metrics.similarity import diversity, psnr, ssim
from fourfold.metrics.text import copied_ngrams, ngram_divergence, ngrams, repetition

_OF_MODELS = ("Drawn", "draw", "evaluate", "examples", "headline", "likelihood", "peak_memory", "quality")
"""Functions that measure models on data sets are in :mod:`fourfold.tasks.evaluation`, and importable from here."""
__all__ = [
    "Drawn",
    "Draws",
    "EfficientNetLite0",
    "Features",
    "Floor",
    "Inception",
    "Measurement",
    "Pixels",
    "References",
    "StandardisedColumns",
    "bootstrap",
    "by_draws",
    "by_features",
    "by_frechet",
    "by_neighbours",
    "by_pairs",
    "cached",
    "choose_draws",
    "copied_ngrams",
    "coverage",
    "crps",
    "density",
    "detail_ratio",
    "diversity",
    "draw",
    "energy_score",
    "evaluate",
    "examples",
    "floor_of",
    "frechet_difference",
    "frechet_distance",
    "frontier_area",
    "gaussian_distance",
    "headline",
    "image_features",
    "interval_coverage",
    "jackknife",
    "likelihood",
    "mauve",
    "median_bandwidth",
    "memorisation_ratio",
    "mmd",
    "ngram_divergence",
    "ngrams",
    "peak_memory",
    "precision",
    "psnr",
    "quality",
    "rank_deviation",
    "ranks",
    "recall",
    "repetition",
    "ssim",
]


def __getattr__(name: str) -> Any:
    if name not in _OF_MODELS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module("fourfold.tasks.evaluation"), name)
