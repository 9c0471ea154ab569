"""Denoisers of few rows: a Gaussian for each class in closed form, and boosted trees at each noise level for the rest.

A tree ensemble is a set of arrays, see :class:`~fourfold.nn.forest.Forest`, with a vector in each leaf.
"""

from __future__ import annotations

import math
from typing import final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fourfold.machine.libraries import sklearn
from fourfold.maths.covariance import class_covariance, shrunk_covariance
from fourfold.nn.forest import DEPTH, Forest

__all__ = ["NoiseTrees"]

NOISE = (0.02, 10.0)
"""The least and the greatest noise level at which trees are grown, in standard deviations of the data."""
RATE = 0.3
"""The share of its prediction that a tree adds."""
COPIES = 20
"""Noised copies of a row on which an ensemble grows, at most."""
GROWN = 8000
"""Noised rows on which an ensemble grows, at most."""
BAGS = 3
"""Ensembles of a noise level and class, whose mean counts. Each leaves out a part of the rows."""
LEAST = 5
"""The fewest different rows of a leaf."""


@final
class NoiseTrees(Forest):
    """``E[x | y]`` for ``y = x + s eps``, where ``x`` is a row of a mixture of classes ``k``.

        D(y, s) = sum_k r_k G_k(y, s) + r_m g T_m(y / sqrt(1 + s^2)) s / sqrt(1 + s^2),    m = argmax r
        G_k(y, s) = mu_k + S_k (S_k + s^2 I)^-1 (y - mu_k),    r_k ~ p_k N(y; mu_k, S_k + s^2 I)

    ``G_k`` is the denoiser of a Gaussian with the class's mean and shrunk covariance, so without trees this is the
    denoiser of shrunk Gaussians. ``T_m`` is the ensemble of the class at the noise level nearest to ``s``. It is
    boosted on noised copies of the training rows to what ``G`` leaves over, as long as the error of rows that it does
    not grow on falls, and it is the mean of several such ensembles. The gain ``g`` of a noise level and class is 1.
    Training by steps changes it. Numbers of a condition are features of the trees too.

    Reference: Jolicoeur-Martineau, Fatras, Kachman 2023, Generating and Imputing Tabular Data via Diffusion and
    Flow-based Gradient-Boosted Trees (https://arxiv.org/abs/2309.09968); Geurts, Ernst, Wehenkel 2006, Extremely
    randomized trees (https://doi.org/10.1007/s10994-006-6226-1).

    Args:
        dim: numbers of a row.
        classes: of the rows, at least 1.
        levels: noise levels that have trees.
        rounds: trees of an ensemble.
        leaves: of a tree, at most. At least 2.
        numbers: of a condition.

    Raises:
        ValueError: for fewer than two leaves.
    """

    value: Tensor
    mean: Tensor
    basis: Tensor
    variance: Tensor

    def __init__(
        self, dim: int, classes: int = 1, levels: int = 12, rounds: int = 24, leaves: int = 32, numbers: int = 0
    ) -> None:
        super().__init__(levels * classes * BAGS * rounds, leaves)
        self.dim, self.classes, self.levels, self.rounds, self.numbers = dim, classes, levels, rounds, numbers
        self.register_buffer("value", torch.zeros(len(self.feature), self.nodes, dim))
        self.register_buffer("mean", torch.zeros(classes, dim))
        self.register_buffer("basis", torch.eye(dim).repeat(classes, 1, 1))
        self.register_buffer("variance", torch.ones(classes, dim))
        self.gain = nn.Parameter(torch.ones(levels, classes))

    # --- growing ------------------------------------------------------------------------------------------------------

    @torch.no_grad()
    def fit(self, x: Tensor, label: Tensor, condition: Tensor | None = None) -> None:
        """Fit the Gaussians and grow the trees. Data and seeds of the place alone decide.

        Args:
            x: rows ``(N, dim)``.
            label: the class of each, ``(N,)``.
            condition: the numbers of its condition, ``(N, numbers)``.
        """
        self.child.fill_(-1)
        self.value.zero_()
        if not self.dim:
            return
        condition = x.new_zeros(len(x), 0) if condition is None else condition
        self._set_gaussians(x.double(), label)
        for k in range(self.classes):
            rows, beside = x[label == k], condition[label == k]
            for level in range(self.levels if len(rows) >= 2 * LEAST else 0):
                for bag in range(BAGS):
                    self._boost(rows, beside, level, k, bag)

    def _set_gaussians(self, x: Tensor, label: Tensor) -> None:
        """The mean of each class, and its covariance in the coordinates of its axes."""
        sums = torch.zeros(self.classes, self.dim, dtype=torch.float64).index_add(0, label, x)
        counts = torch.bincount(label, minlength=self.classes).unsqueeze(1)
        means = torch.where(counts > 0, sums / counts.clamp(min=1), x.mean(0))
        residual = x - means[label]
        within = residual.square().mean(0).sqrt().clamp(min=1e-3)
        every = shrunk_covariance(residual / within)
        for k in range(self.classes):
            covariance = class_covariance(residual[label == k] / within, every) * within.outer(within)
            variance, basis = torch.linalg.eigh(covariance)
            self.mean[k], self.basis[k], self.variance[k] = means[k], basis, variance.clamp(min=1e-6)

    def _boost(self, rows: Tensor, condition: Tensor, level: int, k: int, bag: int) -> None:
        """Grow the ensemble of a noise level and class that leaves a part of the rows out."""
        first = ((level * self.classes + k) * BAGS + bag) * self.rounds
        g = torch.Generator().manual_seed(first)
        copies = max(1, min(COPIES, GROWN // len(rows)))
        row = torch.randperm(len(rows), generator=g)[:GROWN].repeat(copies)
        log_noise = self._edges()[level] + self._width * torch.rand(len(row), generator=g)
        s = log_noise.exp().unsqueeze(1)
        y = rows[row] + s * torch.randn(len(row), self.dim, generator=g)
        scale = s / (1 + s * s).sqrt()
        rest = ((rows[row] - self._gaussian(y, s, k)[0]) / scale).numpy()
        inputs = torch.cat([y * scale / s, condition[row]], 1).numpy()
        out = (row % BAGS == bag).numpy()
        error, best = (rest[out] ** 2).mean(), 0
        for t in range(self.rounds):
            model = sklearn.tree.DecisionTreeRegressor(
                splitter="random",
                max_leaf_nodes=self.leaves,
                max_depth=DEPTH,
                min_samples_leaf=LEAST * copies,
                random_state=first + t,
            ).fit(inputs[~out], rest[~out])
            rest -= RATE * model.predict(inputs).reshape(rest.shape)
            self.plant(first + t, model.tree_, torch.arange(self.dim + self.numbers))
            leaf_values = torch.from_numpy(model.tree_.value[:, :, 0]).float()
            self.value[first + t, : len(leaf_values)] = RATE / BAGS * leaf_values
            if (now := (rest[out] ** 2).mean()) < error:
                error, best = now, t + 1
        self.child[first + best : first + self.rounds] = -1
        self.value[first + best : first + self.rounds] = 0

    # --- denoising ----------------------------------------------------------------------------------------------------

    def forward(
        self, y: Tensor, noise: Tensor, evidence: Tensor, condition: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """``D(y, s)``, ``(B, dim)``, and the shares ``r`` of the classes, ``(B, classes)``.

        Args:
            y: noised rows ``(B, dim)``.
            noise: their noise levels ``(B,)``.
            evidence: the logarithms of the shares before the row is seen, up to a constant, ``(B, classes)``.
            condition: the numbers of their conditions, ``(B, numbers)``.
        """
        s = noise.unsqueeze(1)
        parts = [self._gaussian(y, s, k) for k in range(self.classes)]
        share = (evidence + torch.stack([nats for _, nats in parts], 1)).softmax(1)
        mean = sum((share[:, [k]] * part for k, (part, _) in enumerate(parts)), torch.zeros_like(y))
        (most, k), level = share.max(1), torch.bucketize(noise.log(), self._edges()[1:-1])
        scale, count = s / (1 + s * s).sqrt(), BAGS * self.rounds
        trees = ((level * self.classes + k) * count).unsqueeze(1) + torch.arange(count, device=y.device)
        inputs = y.detach() * scale / s
        inputs = inputs if condition is None else torch.cat([inputs, condition], 1)
        leaf = self.paths(inputs, trees).amax(2)
        rest = F.embedding_bag(trees * self.nodes + leaf, self.value.flatten(0, 1), mode="sum")
        return mean + (most * self.gain[level, k]).unsqueeze(1) * scale * rest, share

    def _gaussian(self, y: Tensor, s: Tensor, k: int) -> tuple[Tensor, Tensor]:
        """``G_k(y, s)``, ``(B, dim)``, and ``log N(y; mu_k, S_k + max(s, 1)^2 I)`` up to a constant, ``(B,)``.

        A covariance of few rows is too sure of its small variances. With a noise of at least 1, a row that lies far out
        is not taken for one of another class.
        """
        basis, variance = self.basis[k], self.variance[k]
        along, total = (y - self.mean[k]) @ basis, variance + s.clamp(min=1) ** 2
        nats = -(along.square() / total + total.log()).sum(1) / 2
        return self.mean[k] + (along * (variance / (variance + s * s))) @ basis.T, nats

    @property
    def _width(self) -> float:
        """The logarithm of the ratio of neighbouring noise levels."""
        return math.log(NOISE[1] / NOISE[0]) / self.levels

    def _edges(self) -> Tensor:
        """The logarithms of the noise levels between which ensembles stand, ``(levels + 1,)``."""
        places = torch.arange(self.levels + 1, device=self.value.device)
        return math.log(NOISE[0]) + self._width * places
