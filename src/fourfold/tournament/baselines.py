"""Baselines in a comparison: models in closed form, judged as the trained ones are."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

from torch import Tensor

from fourfold.baselines import baselines_of, fit_baseline
from fourfold.data import Dataset
from fourfold.evaluation import mean_likelihood, quality, scored_examples
from fourfold.metrics import Measurement, References
from fourfold.tournament.entries import Entry
from fourfold.tournament.settings import Protocol
from fourfold.tournament.words import label
from fourfold.vocabulary import Kind

__all__ = ["Rated", "losses", "rate"]


@final
@dataclass(frozen=True)
class Rated:
    """A baseline with its scores.

    Attributes:
        entry: its name and scores; it has no runs.
        summary: the model in one sentence.
        x: its samples.
        seconds: to fit it.
        columns: nats of each column, where it can tell.
    """

    entry: Entry
    summary: str
    x: Tensor
    seconds: float
    columns: tuple[float, ...] = ()


def rate(dataset: Dataset, n: int, chosen: References, protocol: Protocol, seed: int) -> tuple[Rated, ...]:
    """Fit each baseline of the space to the training split, draw ``n`` samples and score both as those of models."""
    found = []
    for kind in baselines_of(dataset.space):
        start = time.perf_counter()
        fitted = fit_baseline(kind, dataset.space, dataset.train.x, dataset.train.cond)
        seconds = time.perf_counter() - start
        x = fitted.sample(n, None if chosen.cond is None else chosen.cond[:n], seed)
        drawing = 1e3 * (time.perf_counter() - start - seconds) / n
        test = scored_examples(dataset, protocol.likelihood_examples)
        scored = fitted.log_prob(test.x, test.cond, seed)
        likelihood = mean_likelihood(scored, dataset.space.unit)
        columns = () if scored.pieces is None else tuple(scored.pieces.double().mean(0).tolist())
        time_of_one = Measurement("milliseconds_per_sample", drawing, n=n, protocol="once", unit="ms", better="lower")
        scores = (likelihood, *quality(x, dataset, chosen, protocol.features), time_of_one)
        found.append(Rated(Entry(kind.name, (), scores), kind.summary, x, seconds, columns))
    return tuple(found)


def losses(entry: Entry, baselines: Sequence[Rated]) -> list[str]:
    """The baselines that an entry loses to, each with the scores that show it.

    A score counts where the intervals do not overlap. Likelihoods count only if both are exact.
    """
    found = []
    for rated in baselines:
        pairs = [(entry.headline, rated.entry.headline)]
        own, other = entry.likelihood, rated.entry.likelihood
        if own is not None and other is not None and own.kind is other.kind is Kind.EXACT:
            pairs.append((own, other))
        lost = [label(a.name).partition(" (")[0] for a, b in pairs if a is not None and b is not None and _worse(a, b)]
        if lost:
            found.append(f"loses to {rated.entry.name}: {', '.join(lost)}")
    return found


def _worse(a: Measurement, b: Measurement) -> bool:
    return a.low > b.high if a.better == "lower" else a.high < b.low
