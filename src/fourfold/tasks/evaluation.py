"""Measure a trained model on a data set: likelihood, sample quality by the measures of its space, and cost."""

from __future__ import annotations

import math
import resource
import sys
import time
from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from fourfold.core import GenerativeModel, LogProb, no_likelihood
from fourfold.data import Dataset, Split
from fourfold.data.matching import check_kind
from fourfold.metrics.deadline import TimeUp, deadline
from fourfold.metrics.floor import choose_draws
from fourfold.metrics.references import References
from fourfold.metrics.score import PARTS, Measurement, Measurements, UncertainValue, means_left_out
from fourfold.tasks.conditional_quality import draw_given, measure_draws, measure_pairs
from fourfold.tasks.sampling import Drawn, draw
from fourfold.vocabulary import Kind

__all__ = [
    "Drawn",
    "draw",
    "evaluate",
    "examples",
    "headline",
    "likelihood",
    "log_prob",
    "mean_likelihood",
    "peak_memory",
    "permutation",
    "quality",
    "scored_examples",
]

FIRST = 4
"""Examples that are scored first under a time limit."""
LONG = 20.0
"""Seconds of sampling above which it is announced."""


def examples(dataset: Dataset, n: int = 2000) -> References:
    """Choose ``min(n, len(test), len(train))`` examples (of a stream, windows) of each split by a fixed permutation."""
    test, train, fresh = (_examples(dataset, part) for part in (dataset.test, dataset.train, dataset.validation))
    n = min(n, len(test), len(train))
    rows = permutation(len(test))[:n]
    cond = test.cond[rows] if dataset.space.conditional and test.cond is not None else None
    return References(
        choose_draws(train.x, n, train.cond, cond),
        test.x[rows],
        cond,
        fresh.x[permutation(len(fresh))[:n]],
        dataset.train.x,
    )


def _examples(dataset: Dataset, split: Split) -> Split:
    """A split as examples. A stream becomes its windows."""
    return Split(dataset.space.rows(split.x), split.cond)


def permutation(n: int) -> Tensor:
    """The order in which examples are chosen: a fixed one of ``range(n)``."""
    return torch.randperm(n, generator=torch.Generator().manual_seed(0))


def evaluate(
    model: GenerativeModel,
    dataset: Dataset,
    *,
    n: int = 2000,
    seed: int = 0,
    features: str | None = None,
    likelihood_examples: int = 1024,
    seconds: float | None = None,
    batch_size: int | None = None,
    say: Callable[[str], None] | None = None,
) -> Measurements:
    """Measure a model: likelihood, sample quality and coverage, memorisation, how it follows conditions, cost.

    The first score is the likelihood of test examples, the second is the headline of quality. If the model shows
    medians or means, its draws (:meth:`~fourfold.core.GenerativeModel.drawing`) are measured too, for example as
    ``frechet_distance_of_draws`` and ``coverage_of_draws``.

    A conditional model is measured by the pairs of its samples and their conditions too and, unless its examples or
    conditions are categories or texts, by several draws for each of a part of the conditions.

    Args:
        model: trained.
        dataset: whose test examples are the references.
        n: samples and references. Fewer where the test split has fewer, or where ``seconds`` run out.
        seed: of the samples and of the random parts of the likelihood.
        features: feature space for images: ``pixels``, ``efficientnet-lite0`` or ``inception``. The default is
            :attr:`Images.default_features <fourfold.spaces.Images.default_features>`.
        likelihood_examples: how many test examples are scored.
        seconds: time limit for sampling, and again for several draws for each condition and for scoring. ``None`` sets
            no limit.
        batch_size: samples in a batch. ``None``: the model's default.
        say: a function that is called after the first batch with a line on how long sampling will take, if that is
            more than :data:`LONG` seconds.

    Raises:
        ValueError: for a feature space that the data's space does not have.
        TypeError: for a space without measures.
    """
    check_kind(dataset.name, dataset.space, model.space)
    model.space.check_features(features)
    references = examples(dataset, n)
    count, start = len(references.test), time.perf_counter()

    def foretell(progress: int) -> None:
        nonlocal say
        duration = (time.perf_counter() - start) * count / progress
        if say is not None and duration > LONG:
            stop = f"; after {seconds:g} s no new batch begins" if seconds is not None and seconds < duration else ""
            say(f"drawing {count:,} samples takes about {_span(duration)}{stop}")
        say = None

    samples = draw(model, count, seed, references.cond, seconds, batch_size, foretell)
    several = draw_given(model, dataset, references, seed, seconds, batch_size)
    memory = peak_memory(model)
    return Measurements(
        (
            likelihood(model, dataset, likelihood_examples, seed, seconds),
            *quality(samples.x, dataset, references, features),
            *measure_pairs(samples.x, dataset, references),
            *measure_draws(several, dataset, references),
            *_of_draws(model, dataset, references, len(samples.x), seed, features),
            *samples.scores(),
            Measurement(
                "peak_memory", memory, protocol="of the process, up to the end of sampling", unit="MiB", better="lower"
            ),
        )
    )


def _span(seconds: float) -> str:
    """A duration in words."""
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"


def _of_draws(
    model: GenerativeModel, dataset: Dataset, references: References, n: int, seed: int, features: str | None
) -> list[Measurement]:
    """Headline and coverage of the draws of a model that shows something else. Empty for other models."""
    variant = model.drawing()
    if variant is None:
        return []
    scores = quality(draw(variant, n, seed, references.cond).x, dataset, references, features)
    selection = [score for i, score in enumerate(scores) if i == 0 or score.name.startswith("coverage[")]
    return [replace(score, name=score.name.replace("[", "_of_draws[", 1)) for score in selection]


def peak_memory(model: GenerativeModel | None = None) -> float:
    """The most memory that this process has held so far, in MiB: resident, or on the model's accelerator."""
    if model is not None and model.device.type == "cuda":
        return torch.cuda.max_memory_allocated(model.device) / 2**20
    resident = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return resident / (2**20 if sys.platform == "darwin" else 2**10)


# --- likelihood -------------------------------------------------------------------------------------------------------


def likelihood(
    model: GenerativeModel, dataset: Dataset, n: int = 1024, seed: int = 0, seconds: float | None = None
) -> Measurement:
    """The mean likelihood of test examples in the unit of the space, with its kind and a 95 % interval over examples.

    The protocol also names it in bits per byte of a text, and in nats per row of sequences.

    A codec that draws is drawn from once for each example. Its error is part of the spread over examples.
    """
    return mean_likelihood(log_prob(model, dataset, n, seed, seconds), dataset.space.unit)


def log_prob(
    model: GenerativeModel, dataset: Dataset, n: int = 1024, seed: int = 0, seconds: float | None = None
) -> LogProb:
    """The log-probability of each of ``n`` test examples, or of fewer if ``seconds`` are over."""
    test = scored_examples(dataset, n)
    return _log_prob(model, test.x, test.cond, seed, seconds)


def scored_examples(dataset: Dataset, n: int) -> Split:
    """The test examples whose likelihood is measured: the same ones for every model and seed."""
    test = _examples(dataset, dataset.test)
    rows = permutation(len(test))[:n]
    cond = test.cond[rows] if dataset.space.conditional and test.cond is not None else None
    return Split(test.x[rows], cond)


def mean_likelihood(result: LogProb, unit: str) -> Measurement:
    """The mean of scored examples in a unit, with its kind and a 95 % interval over examples (a jackknife)."""
    better = "higher" if unit == "nats" else "lower"
    if result.kind is Kind.NONE:
        return Measurement("likelihood", math.nan, protocol=result.note, unit=unit, better=better, kind=Kind.NONE)
    n = int(result.inside.sum())
    values, weights = result.in_unit(unit)[result.inside], result.weights_in(unit)
    deviations = means_left_out(values, weights, min(n, PARTS)) if n > 1 else ()
    estimate = UncertainValue(result.mean_in(unit)[0], 0.0 if deviations else math.nan, deviations)
    draws = f", {result.draws} draws each" if result.draws else ""
    counts = {"bits/byte": result.byte_counts, "nats/row": result.row_counts}
    per = "".join(f"{result.mean_in(name)[0]:.4f} {name}; " for name, amount in counts.items() if amount is not None)
    scored = f"{result.count_words} test examples{draws}, {result.evaluations:.0f} network evaluations each"
    words = f"{per}{scored}; {result.note_in(unit)}".strip("; ")
    score = Measurement(
        "likelihood",
        estimate.value,
        n=n,
        protocol=words,
        unit=unit,
        better=better,
        kind=result.kind,
        outside=len(result) - n,
    )
    return score.within(estimate)


def _log_prob(model: GenerativeModel, x: Tensor, cond: Tensor | None, seed: int, seconds: float | None) -> LogProb:
    """Score examples in blocks until all are scored or the model turns out to have no likelihood.

    With ``seconds``, the first block has :data:`FIRST` examples, and a later one at most four times as many as the one
    before. It begins only if at least 16 examples should fit into the time. A block is given up at the end of the time,
    and if it was the first, nothing is scored.
    """
    start, total, size = time.perf_counter(), 0, 256 if seconds is None else FIRST
    parts: list[LogProb] = []
    while total < len(x) and size > 0:
        labels = None if cond is None else cond[total : total + size]
        limit = math.inf if seconds is None else start + seconds
        try:
            with deadline(model, limit):
                parts.append(model.log_prob(x[total : total + size], labels, seed=seed + total, draws=1))
        except TimeUp:
            break
        if parts[0].kind is Kind.NONE:
            break
        total += size
        duration = max(time.perf_counter() - start, 1e-9)
        fits = 256 if seconds is None else int((seconds / duration - 1) * total)
        size = min(fits, 256 if seconds is None else 4 * size, 256) if fits >= 16 else 0
    return LogProb.cat(parts or [no_likelihood(1, f"not scored: {FIRST} examples take more than {seconds:g} s")])


# --- quality ----------------------------------------------------------------------------------------------------------


def quality(x: Tensor, dataset: Dataset, references: References, features: str | None = None) -> list[Measurement]:
    """Every measure of samples that their space has. The first is the headline.

    Raises:
        ValueError: for a feature space that the data's space does not have.
        TypeError: for a space without measures.
    """
    return list(dataset.space.measures(x, references, features))


def headline(x: Tensor, dataset: Dataset, references: References, features: str | None = None) -> Measurement:
    """The first score of :func:`quality`, computed alone."""
    return next(dataset.space.measures(x, references, features))
