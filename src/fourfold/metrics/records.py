"""Whether samples give training rows away: copies, closest records, and an attack that guesses who was trained on."""

from __future__ import annotations

from typing import final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from fourfold.metrics.rows import Columns, Metric, digests
from fourfold.metrics.score import Floor, Measurement, jackknife, mean_interval
from fourfold.metrics.twosample import area

__all__ = ["Records", "membership"]

MOST = 10_000
"""Rows that distances are measured from, and to."""
FEW = 2000
"""Rows whose nearest is looked for among all training rows."""


@final
class Records:
    """Samples beside training rows and beside rows that no training has seen.

    Distances are those of :class:`~fourfold.metrics.rows.Metric`. Equally many training and test rows stand against
    each other, at most :data:`MOST`, since the nearest of more rows is nearer.

    Args:
        x: samples, ``(n, C)``.
        train: all training rows, ``(N, C)``.
        test: held-out rows, ``(m, C)``.
        fresh: further held-out rows: the yardstick.
        columns: of the rows.
        known: digests of the training rows that copies are looked for among; by default those of ``train``.
    """

    def __init__(
        self,
        x: Tensor,
        train: Tensor,
        test: Tensor,
        fresh: Tensor,
        columns: Columns,
        known: npt.NDArray[np.int64] | None = None,
    ) -> None:
        self.x, self.train, self.test, self.fresh = x, train, test, fresh
        self.every = known
        self.metric = Metric(train[:: max(len(train) // 50_000, 1)], columns)
        most = min(len(train), len(test), MOST)
        some = torch.randperm(len(train), generator=torch.Generator().manual_seed(0))[:most]
        self.known, self.unknown = (self.metric.embed(rows) for rows in (train[some], test[:most]))

    def copies(self) -> Measurement:
        """The share of samples that equal a training row in every column.

        The floor is that share of held-out rows: where columns are few and coarse, new rows repeat old ones as well.
        """
        known = digests(self.train) if self.every is None else self.every
        held = torch.cat([self.test, self.fresh])
        hits, repeats = (torch.from_numpy(np.isin(digests(rows), known)) for rows in (self.x, held))
        words = (
            f"{len(hits)} samples against {len(known)} training rows, equal in every column; floor: {len(held)} "
            "held-out rows against them; interval over samples (Agresti, Coull 1998)"
        )
        value, low, high = mean_interval(hits, share=True)
        score = Measurement("copies[training rows]", value, low, high, n=len(hits), protocol=words, better="lower")
        return score.beside(Floor(*mean_interval(repeats, share=True)))

    def closer(self) -> Measurement:
        """The share of samples that lie closer to a training row than to any held-out row: 0.5 is ideal.

        Ties count half. The floor is that share of fresh held-out rows.
        """
        value, low, high = mean_interval(self._closer(self.x))
        floor = Floor(*mean_interval(self._closer(self.fresh))) if len(self.fresh) else Floor()
        words = (
            f"nearest of {len(self.known)} training rows against nearest of {len(self.unknown)} test rows, by the "
            "share of the data between two values; 0.5 is ideal, 1 is a memory; floor: fresh held-out rows in the "
            "samples' place; interval over samples"
        )
        return Measurement(
            "closer_to_training[rows]", value, low, high, n=len(self.x), protocol=words, better="lower", share=True
        ).beside(floor)

    def _closer(self, rows: Tensor) -> Tensor:
        """1 for a row that lies closer to training rows, 1/2 for a tie, else 0."""
        points = self.metric.embed(rows[:MOST])
        trained, held = (self.metric.nearest(points, others)[0] for others in (self.known, self.unknown))
        return (trained < held).double() + (trained == held).double() / 2

    def closest(self) -> Measurement:
        """How often a sample lies closer to its nearest training row than a held-out row to its own: 0.5 is ideal.

        All training rows count. Copies score 1; samples that are worse than rows of the data score less than 0.5.
        """
        held = torch.cat([self.fresh, self.test])[:FEW]
        own, other = (self._distances(rows)[0] for rows in (self.x[:FEW], held))
        words = (
            f"minus the distance to the nearest of {len(self.train)} training rows, {len(own)} samples against "
            f"{len(held)} held-out rows; 0.5 is ideal, 1 is a memory"
        )
        return _area("closest_record[training rows]", -own, -other, words)

    def _distances(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Distances to the nearest of all training rows, and its place."""
        points, parts = self.metric.embed(rows), torch.split(self.train, 32_768)
        found = [self.metric.nearest(points, self.metric.embed(part)) for part in parts]
        which = torch.stack([distance for distance, _ in found]).argmin(0)[None]
        distance, place = (torch.stack(both).gather(0, which)[0] for both in zip(*found, strict=True))
        return distance, place + 32_768 * which[0]

    def attack(self) -> Measurement:
        """How well the distance to the nearest sample tells training rows from test rows: 0.5 is "not at all".

        Reference: Chen, Yu, Zhang, Fritz 2020, GAN-Leaks, https://arxiv.org/abs/1909.03935
        """
        samples = self.metric.embed(self.x[:MOST])
        trained, held = (-self.metric.nearest(rows, samples)[0] for rows in (self.known, self.unknown))
        return membership(trained, held, "distance", f"minus the distance to the nearest of {len(samples)} samples")

    def leaks(self, most: int) -> tuple[Tensor, Tensor]:
        """The places of the samples that come closest to a training row, and the places of these rows.

        Only samples that no held-out row comes as close to count, since common rows give nobody away. They are in order
        of the ratio of both distances, and copies in that of the distance to a held-out row, the farthest first.
        """
        distance, place = self._distances(self.x[:FEW])
        held = self.metric.nearest(self.metric.embed(self.x[:FEW]), self.unknown)[0]
        far = held.argsort(descending=True, stable=True)
        order = far[(distance / held)[far].argsort(stable=True)][:most]
        order = order[distance[order] < held[order]]
        return order, place[order]


def membership(trained: Tensor, held: Tensor, by: str, words: str) -> Measurement:
    """The area under the curve of an attack that calls rows with a high score "trained on".

    Args:
        trained: scores of training rows, ``(n,)``.
        held: scores of rows that no training has seen, ``(m,)``.
        by: the score, in a word.
        words: the score, for the protocol.
    """
    words = f"{words}, {len(trained)} training rows against {len(held)} test rows; 0.5 is perfect"
    return _area(f"membership[{by}]", trained, held, words)


def _area(name: str, high: Tensor, low: Tensor, words: str) -> Measurement:
    """The area under the curve of scores that should tell nothing, with the law of such scores as its floor."""
    scores = torch.cat([high, low]).double()
    order = torch.randperm(len(scores), generator=torch.Generator().manual_seed(0))  # as a jackknife takes it
    values, labels = scores[order].numpy(), (order < len(high)).numpy()
    value, left, right = jackknife(lambda keep: area(values[keep.numpy()], labels[keep.numpy()]), len(values))
    words = f"AUC of {words}; interval over rows: jackknife; floor: the law of a score that knows nothing"
    score = Measurement(name, value, left, right, n=len(high), protocol=words, better="lower", share=True)
    half = 1.96 * ((len(scores) + 1) / (12 * len(high) * len(low))) ** 0.5
    return score.beside(Floor(0.5, 0.5 - half, 0.5 + half))
