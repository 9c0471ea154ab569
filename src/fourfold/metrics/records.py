"""Privacy of training rows: copies, closest records, and an attack that guesses the rows behind a model."""

from __future__ import annotations

import math
from functools import cached_property
from typing import NamedTuple, final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from fourfold.maths.uncertainty import student_t
from fourfold.metrics.rows import Columns, Metric, digests
from fourfold.metrics.score import Floor, Measurement, UncertainValue, jackknife, mean_interval, share_interval
from fourfold.metrics.twosample import area

__all__ = ["Records", "membership", "repeats"]

PORTION = 32_768
"""Training rows that are measured to at once."""
MOST = 10_000
"""Test rows that distances are measured to."""
FEW = 2000
"""Samples and held-out rows whose nearest is looked for among all training rows."""
RISK = 0.025
"""The probability that any of several models that copy nothing is called a copier."""


class Neighbours(NamedTuple):
    """The nearest training and held-out rows of ``n`` rows.

    Attributes:
        to_train: distances to the nearest training row, ``(n,)``.
        to_held: those to the nearest held-out row.
        twins: how many training and held-out rows equal each row.
        weight: how much nearer the nearest row is than the next, 0 to 1.
        nearest: a code of the nearest row, the same for equal rows.
    """

    to_train: Tensor
    to_held: Tensor
    twins: tuple[Tensor, Tensor]
    weight: Tensor
    nearest: Tensor


@final
class Records:
    """Samples beside all training rows and beside rows that no training has seen.

    Of ``N`` training and ``m`` test rows, the nearest to a new row is a training row in ``N / (N + m)`` of cases. The
    nearest to a copy or a near copy always is. Shares of training rows are therefore given at even odds
    (:func:`_at_even_odds`): 1/2 is ideal and 1 is a memory, whatever ``N`` and ``m``. Distances are those of
    :class:`~fourfold.metrics.rows.Metric`.

    Args:
        x: samples, ``(n, C)``.
        train: all training rows, ``(N, C)``.
        test: held-out rows, ``(m, C)``.
        fresh: further held-out rows: the yardstick.
        columns: of the rows.
        train_digests: digests of the training rows that copies are looked for among. By default those of ``train``.
    """

    def __init__(
        self,
        x: Tensor,
        train: Tensor,
        test: Tensor,
        fresh: Tensor,
        columns: Columns,
        train_digests: npt.NDArray[np.int64] | None = None,
    ) -> None:
        self.x, self.train, self.test, self.fresh = x, train, test, fresh
        self.train_digests = train_digests
        self.metric = Metric(train[:: max(len(train) // 50_000, 1)], columns)

    @cached_property
    def _held_out(self) -> Tensor:
        """The held-out rows that distances are measured to. The fresh ones are the last."""
        return torch.cat([self.test[:MOST], self.fresh[:FEW]])

    @cached_property
    def _from_samples(self) -> Neighbours:
        """The neighbours of the first samples."""
        return self._neighbours(self.x[:FEW])

    @cached_property
    def _from_fresh(self) -> Neighbours:
        """Those of fresh held-out rows, each left out of the held-out ones."""
        return self._neighbours(self.fresh[:FEW], len(self._held_out) - len(self.fresh[:FEW]))

    def _neighbours(self, rows: Tensor, own: int | None = None) -> Neighbours:
        """The nearest training and held-out rows of some rows, which stand themselves at ``own`` among the latter."""
        points, n = self.metric.embed(rows), torch.arange(len(rows))
        to_train, train = self._nearest(points, self.train, 2)
        to_held, held_out = self._nearest(points, self._held_out, 2 if own is None else 3)
        if own is not None:
            order = (held_out == own + n[:, None]).long().sort(dim=1, stable=True).indices[:, :2]
            to_held, held_out = to_held.gather(1, order), held_out.gather(1, order)
        code, of_train, of_held = (digests(part) for part in (rows, self.train, self._held_out))
        twins = _count(code, of_train), _count(code, of_held) - float(own is not None)
        both = torch.cat([to_train, to_held], 1).sort(dim=1).values
        weight = (1 - both[:, 0] / both[:, 1]).nan_to_num(0.0).clamp(min=1e-6).where(twins[0] + twins[1] == 0, 1.0)
        closer = to_train[:, 0] <= to_held[:, 0]
        nearest = torch.from_numpy(of_train)[train[:, 0]].where(closer, torch.from_numpy(of_held)[held_out[:, 0]])
        return Neighbours(to_train[:, 0], to_held[:, 0], twins, weight, nearest)

    def copies(self) -> Measurement:
        """The share of samples that equal a training row in every column.

        The floor is that share of held-out rows: where columns are few and coarse, new rows repeat old ones as well.
        """
        train_digests = digests(self.train) if self.train_digests is None else self.train_digests
        unseen = torch.cat([self.test, self.fresh])
        hits, repeats = (torch.from_numpy(np.isin(digests(rows), train_digests)) for rows in (self.x, unseen))
        words = (
            f"{len(hits)} samples against {len(train_digests)} training rows, equal in every column; "
            f"floor: {len(unseen)} held-out rows against them; interval over samples (Agresti, Coull 1998)"
        )
        value, low, high = mean_interval(hits, share=True)
        score = Measurement("copies[training rows]", value, low, high, n=len(hits), protocol=words, better="lower")
        return score.beside(Floor(*mean_interval(repeats, share=True)))

    def closer(self) -> Measurement:
        """The share of samples whose nearest row is a training row and not a held-out row, at even odds: 0.5 is ideal.

        A sample counts by how near that row is: one less the ratio of its distance to that of the next row of either
        part. A copy counts whole, and a sample with several rows about as far hardly. Of rows that all equal the
        sample, the share of training rows counts, so that rows which are often in the data show nothing. Any other tie
        counts as a training row at its odds. The floor is that share of fresh held-out rows, each beside the others,
        with the interval that holds the share of as many new rows as there are samples. Both are over samples: training
        and held-out rows are these.
        """
        n, n_train, n_held = len(self.x[:FEW]), len(self.train), len(self._held_out)
        share, error = share_of_training(self._from_samples, n_train / n_held)
        words = (
            f"the nearest of {n_train} training and {n_held} held-out rows, by the share of the data between two "
            f"values; a sample counts by how much nearer it is than the next; at even odds, so a held-out row counts "
            f"{n_train / n_held:.3g} times; 0.5 is ideal, 1 is a memory; floor: fresh held-out rows in the samples' "
            f"place; interval over {n} samples, these rows fixed"
        )
        score = Measurement(
            "closer_to_training[rows]", share, n=len(self.x), protocol=words, better="lower", share=True
        )
        score = score.within(UncertainValue(share, error))
        if not len(self.fresh):
            return score
        base, error = share_of_training(self._from_fresh, n_train / max(n_held - 1, 1))
        half = 1.96 * error * math.sqrt(1 + len(self.fresh[:FEW]) / n)
        return score.beside(Floor(base, base - half, base + half))

    def _nearest(self, points: Tensor, rows: Tensor, count: int = 1) -> tuple[Tensor, Tensor]:
        """Distances to the nearest of many other rows, and their places, ``(n, count)``."""
        parts = [self.metric.nearest(points, self.metric.embed(part), count) for part in torch.split(rows, PORTION)]
        distance = torch.cat([part[0] for part in parts], 1).sort(dim=1, stable=True)
        place = torch.cat([part[1] + PORTION * i for i, part in enumerate(parts)], 1)
        return distance.values[:, :count], place.gather(1, distance.indices[:, :count])

    def closest(self) -> Measurement:
        """The share of pairs in which a sample lies closer to training rows than a held-out row does: 0.5 is ideal.

        All training rows count. Copies score 1. Samples that are worse than rows of the data score less than 0.5.
        """
        more_test = self.test[: max(FEW - len(self.fresh), 0)]
        from_fresh = [self._from_fresh.to_train] if len(self.fresh) else []
        unseen = torch.cat([*from_fresh, self._nearest(self.metric.embed(more_test), self.train)[0][:, 0]])
        samples = self._from_samples.to_train
        words = (
            f"minus the distance to the nearest of {len(self.train)} training rows, {len(samples)} samples against "
            f"{len(unseen)} held-out rows; 0.5 is ideal, exact copies score 1"
        )
        return _area("closest_record[training rows]", -samples, -unseen, words)

    def attack(self) -> Measurement:
        """The accuracy, at even odds, of an attack that calls the rows closest to a sample "trained on".

        It has all training and test rows before it and names half as many as there are samples, since a memory cannot
        show more. The floor is the law of names drawn by lot.

        Reference: Chen, Yu, Zhang, Fritz 2020, GAN-Leaks, https://arxiv.org/abs/1909.03935
        """
        samples, test = self.metric.embed(self.x[:FEW]), self.test[:MOST]
        parts = [*torch.split(self.train, PORTION), test]
        distance = torch.cat([self.metric.nearest(self.metric.embed(part), samples)[0][:, 0] for part in parts])
        n_train, n_rows = len(self.train), len(distance)
        law, ratio, names = n_train / n_rows, n_train / len(test), max(min(len(samples), n_train) // 2, 1)
        share = _among_nearest(distance, torch.arange(n_rows) < n_train, names)
        half = 1.96 * math.sqrt(law * (1 - law) / names * (n_rows - names) / max(n_rows - 1, 1))
        shares = (share, *share_interval(share, names), law - half, law + half)
        value, low, high, *floor = (_at_even_odds(part, ratio) for part in shares)
        words = (
            f"the {names} of {n_train} training and {len(test)} test rows that lie closest to one of {len(samples)} "
            "samples: how many are training rows, at even odds; 0.5 is perfect, 1 is a memory; interval over rows "
            "(Agresti, Coull 1998); floor: rows drawn by lot"
        )
        score = Measurement(
            "membership[distance]", value, low, high, n=names, protocol=words, better="lower", share=True
        )
        return score.beside(Floor(0.5, *floor))

    def leaks(self, most: int) -> tuple[Tensor, Tensor]:
        """The places of the samples that come closest to a training row, and the places of these rows.

        Only samples that no held-out row comes as close to count, since common rows give nobody away. They are in order
        of the ratio of both distances, and copies in that of the distance to a held-out row, the farthest first.
        """
        points = self.metric.embed(self.x[:FEW])
        distance, place = (part[:, 0] for part in self._nearest(points, self.train))
        to_test = self._nearest(points, self.test[:MOST])[0][:, 0]
        far = to_test.argsort(descending=True, stable=True)
        order = far[(distance / to_test)[far].argsort(stable=True)][:most]
        order = order[distance[order] < to_test[order]]
        return order, place[order]


def repeats(score: Measurement, tests: int = 1) -> bool:
    """True if a score shows that samples lie significantly closer to training examples than new examples do.

    Only scores count that compare training with held-out examples, so that dense regions of the data show nothing. The
    halves of the intervals of score and floor that face each other are those of two independent figures: their
    difference has the root of the sum of both squares. One of several models that copy nothing is accused with
    probability :data:`RISK` at most.

    Args:
        score: beside its floor.
        tests: number of scores that are asked together, such as one of each model.
    """
    name = score.name.partition("[")[0]
    if name == "memorisation_ratio":  # the distance to training examples, relative to held-out ones
        distance, halves = score.floor - score.value, (score.high - score.value, score.floor - score.floor_low)
    elif name in ("closer_to_training", "copied"):
        distance, halves = score.value - score.floor, (score.value - score.low, score.floor_high - score.floor)
        if name == "closer_to_training":  # a floor of as many new rows: without their error, that of its own
            own, of_floor = halves
            halves = own, math.sqrt(max(of_floor**2 - own**2, of_floor**2 / 2))
    else:
        return False
    return distance > math.hypot(*halves) * student_t(math.inf, 1 - 2 * RISK / tests) / student_t(math.inf)


def share_of_training(rows: Neighbours, ratio: float) -> tuple[float, float]:
    """The weighted share of rows whose nearest is a training row, at even odds, and its standard error over these rows.

    Rows with one nearest row, or with equal ones, count as one draw: they err together. Two hits and two misses are
    added for the error, as :func:`~fourfold.metrics.score.share_interval` adds them.

    Args:
        rows: their neighbours.
        ratio: the number of training rows for each held-out row.
    """
    train, held_out = rows.twins
    hits = (rows.to_train < rows.to_held).double() + (rows.to_train == rows.to_held).double() * ratio / (1 + ratio)
    hits = torch.where((train > 0) & (held_out > 0), train / (train + held_out), hits)
    share = ((rows.weight * hits).sum() / rows.weight.sum()).item()
    place = torch.unique(rows.nearest, return_inverse=True)[1]
    sums = torch.zeros(len(hits), dtype=torch.float64).index_add_(
        0, place, rows.weight / rows.weight.mean() * (hits - share)
    )
    squares, n = sums.square().sum().item() + 2 * share**2 + 2 * (1 - share) ** 2, len(hits) + 4
    error = math.sqrt(squares) / n
    low, high = (_at_even_odds(share + sign * error, ratio) for sign in (-1, 1))
    return _at_even_odds(share, ratio), (high - low) / 2


def _at_even_odds(share: float, ratio: float) -> float:
    """The share of training rows if training and test rows were equally many: ``p / (p + (1 - p) N / m)``.

    Args:
        share: the share ``p`` among all rows.
        ratio: ``N / m``, training rows for a test row.
    """
    share = min(max(share, 0.0), 1.0)
    return share / (share + (1 - share) * ratio)


def _count(codes: npt.NDArray[np.int64], others: npt.NDArray[np.int64]) -> Tensor:
    """How often each code is among others, ``(n,)`` float64."""
    ordered = np.sort(others)
    counts = np.searchsorted(ordered, codes, "right") - np.searchsorted(ordered, codes, "left")
    return torch.from_numpy(counts).double()


def _among_nearest(distance: Tensor, is_training: Tensor, names: int) -> float:
    """The share of training rows among the nearest. Of rows at one distance, each is as likely to be named."""
    last = distance.kthvalue(names).values
    inside, edge = distance < last, distance == last
    rest = (names - int(inside.sum())) * is_training[edge].double().mean().item()
    return (int(is_training[inside].sum()) + rest) / names


def membership(of_train: Tensor, of_test: Tensor, by: str, words: str) -> Measurement:
    """The area under the curve of an attack that calls rows with a high score "trained on".

    Args:
        of_train: scores of training rows, ``(n,)``.
        of_test: scores of rows that no training has seen, ``(m,)``.
        by: the score, in a word.
        words: the score, for the protocol.
    """
    words = f"{words}, {len(of_train)} training rows against {len(of_test)} test rows; 0.5 is perfect"
    return _area(f"membership[{by}]", of_train, of_test, words)


def _area(name: str, high: Tensor, low: Tensor, words: str) -> Measurement:
    """The area under the curve of scores that should tell nothing, with the law of such scores as its floor."""
    scores = torch.cat([high, low]).double()
    order = torch.randperm(len(scores), generator=torch.Generator().manual_seed(0))  # as a jackknife takes it
    values, labels = scores[order].numpy(), (order < len(high)).numpy()
    value, lower, upper = jackknife(lambda keep: area(values[keep.numpy()], labels[keep.numpy()]), len(values))
    words = f"AUC of {words}; interval over rows: jackknife; floor: the law of a score that knows nothing"
    score = Measurement(name, value, lower, upper, n=len(high), protocol=words, better="lower", share=True)
    half = 1.96 * ((len(scores) + 1) / (12 * len(high) * len(low))) ** 0.5
    return score.beside(Floor(0.5, 0.5 - half, 0.5 + half))
