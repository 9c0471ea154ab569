"""Baselines: models in closed form that stand in every report beside those that are trained.

A space registers its own: ``@baselines_of.register`` on a function of the space.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from functools import singledispatch
from typing import final

import torch
from torch import Tensor

from fourfold.baselines.mixtures import ClassGaussians, KernelDensity, MixedGaussians, ProductMixture
from fourfold.baselines.pixels import CountedPixels, PredictedPixels
from fourfold.baselines.sequences import FirstOrderRows, IndependentRows
from fourfold.baselines.tables import GaussianCopula, IndependentColumns
from fourfold.baselines.text import KneserNey, KneserNeyLines
from fourfold.core import Baseline, LogProb, Space
from fourfold.spaces import Images, Lines, Sequences, Table, Text, Vectors

__all__ = [
    "Baseline",
    "ClassGaussians",
    "CountedPixels",
    "FirstOrderRows",
    "Fitted",
    "GaussianCopula",
    "IndependentColumns",
    "IndependentRows",
    "KernelDensity",
    "KneserNey",
    "KneserNeyLines",
    "MixedGaussians",
    "PredictedPixels",
    "ProductMixture",
    "baselines_of",
    "fit_baseline",
]

MOST_COLUMNS = 2000
"""Columns of which a matrix of correlations is computed, at most."""
MOST_IN_PARTS = 128
"""Columns of a mixture of several components, at most."""
MOST_PIXELS = 1 << 15
"""Values of an image, each of which has a regression of its own, at most."""
FEWEST = 50
"""Examples of a label that have a model of their own."""


@singledispatch
def baselines_of(space: Space) -> tuple[type[Baseline], ...]:
    """The baselines of a space. Some spaces have none."""
    return ()


@baselines_of.register
def _(space: Table) -> tuple[type[Baseline], ...]:
    return IndependentColumns, *((GaussianCopula,) if space.dims <= MOST_COLUMNS else ()), *_mixtures(space)


@baselines_of.register
def _(space: Vectors) -> tuple[type[Baseline], ...]:
    return _mixtures(space)


def _mixtures(space: Space) -> tuple[type[Baseline], ...]:
    """The baselines of vectors and tables alike."""
    if space.dims > MOST_COLUMNS:
        return ()
    several = (MixedGaussians, ProductMixture, KernelDensity) if space.dims <= MOST_IN_PARTS else ()
    return ClassGaussians, *several


@baselines_of.register
def _(space: Sequences) -> tuple[type[Baseline], ...]:
    return IndependentRows, FirstOrderRows


@baselines_of.register
def _(space: Text) -> tuple[type[Baseline], ...]:
    return (KneserNey,)


@baselines_of.register
def _(space: Lines) -> tuple[type[Baseline], ...]:
    return (KneserNeyLines,)


@baselines_of.register
def _(space: Images) -> tuple[type[Baseline], ...]:
    return (CountedPixels, PredictedPixels) if space.dims <= MOST_PIXELS else ()


@final
@dataclass(frozen=True)
class Fitted:
    """A baseline that knows the data: one model for each label, and one for the labels that are rare.

    Attributes:
        every: the model of all training examples.
        of_label: the models of the labels of at least :data:`FEWEST` training examples.
    """

    every: Baseline
    of_label: dict[int, Baseline]

    def sample(self, n: int, cond: Tensor | None = None, seed: int = 0) -> Tensor:
        """``n`` raw examples, of the labels ``cond`` ``(n,)`` where there are any."""
        parts = [(rows, model.sample(len(rows), seed + i)) for i, (rows, model) in enumerate(self._groups(n, cond))]
        x = torch.empty(n, *parts[0][1].shape[1:], dtype=parts[0][1].dtype)
        for rows, samples in parts:
            x[rows] = samples
        return x

    def log_prob(self, x: Tensor, cond: Tensor | None = None, seed: int = 0) -> LogProb:
        """The typed log-probability of raw examples given their labels."""
        groups = self._groups(len(x), cond)
        scored = LogProb.cat([model.log_prob(x[rows], seed) for rows, model in groups])
        order = torch.cat([rows for rows, _ in groups]).argsort()
        parts = {name: getattr(scored, name) for name in ("variance", "terms", "row_counts")}
        ordered = {name: part[order] for name, part in parts.items() if part is not None}
        return dataclasses.replace(scored, nats=scored.nats[order], **ordered)

    def _groups(self, n: int, cond: Tensor | None) -> list[tuple[Tensor, Baseline]]:
        """Rows, and the model of their label."""
        if cond is None or not self.of_label:
            return [(torch.arange(n), self.every)]
        by_label = [((cond == label).nonzero().flatten(), model) for label, model in self.of_label.items()]
        rest = ~torch.isin(cond, torch.tensor(list(self.of_label), dtype=cond.dtype))
        return [group for group in (*by_label, (rest.nonzero().flatten(), self.every)) if len(group[0])]


def fit_baseline(kind: type[Baseline], space: Space, x: Tensor, cond: Tensor | None = None) -> Fitted:
    """The baseline of raw training examples and, if they have labels, one for each label. Others are left out.

    Args:
        kind: of :func:`baselines_of`.
        space: of the examples.
        x: ``(N, *shape)``.
        cond: labels ``(N,)``, other conditions, or ``None``.
    """
    cond = None if cond is None or cond.ndim > 1 or cond.is_floating_point() else cond
    labels, counts = (torch.empty(0), torch.empty(0)) if cond is None else torch.unique(cond, return_counts=True)
    often = [int(label) for label, count in zip(labels, counts, strict=True) if count >= FEWEST]
    return Fitted(kind.fit(space, x), {} if cond is None else {y: kind.fit(space, x[cond == y]) for y in often})
