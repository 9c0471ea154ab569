"""Baselines in a comparison: models in closed form, judged as the trained ones are."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import final

from torch import Tensor

from fourfold.baselines import Baseline, baselines_of, fit_baseline
from fourfold.metrics import Measurement
from fourfold.runs.files import write_json
from fourfold.tasks.evaluation import mean_likelihood, scored_examples
from fourfold.tournament.benchmark import Benchmark
from fourfold.tournament.entries import Entry, merged, of_tokens, pool
from fourfold.tournament.jobs import FORMAT
from fourfold.tournament.ranking import RISK, adjusted_p
from fourfold.tournament.samples import load_samples, save_samples
from fourfold.tournament.words import label

__all__ = ["Rated", "losses", "pooled", "rate"]


@final
@dataclass(frozen=True)
class Rated:
    """A baseline with its scores.

    Attributes:
        entry: its name and scores. It has no runs.
        summary: the model in one sentence.
        x: its samples.
        seconds: to fit it.
        columns: nats of each column. Empty if the baseline has no likelihood of columns.
    """

    entry: Entry
    summary: str
    x: Tensor
    seconds: float
    columns: tuple[float, ...] = ()


def rate(benchmark: Benchmark, folder: Path | None = None, resume: bool = True) -> tuple[Rated, ...]:
    """Fit each baseline of the space to the training split, draw samples and score both as those of models.

    Args:
        benchmark: the data and how models are measured on it.
        folder: holds the ratings, so that the same comparison does not compute them again.
        resume: whether ratings are read from the folder.
    """
    ratings = []
    for kind in baselines_of(benchmark.dataset.space):
        place = None if folder is None else folder / _key(kind, benchmark)
        rated = _load(place, kind) if place is not None and resume else None
        if rated is None:
            rated = _rated(kind, benchmark)
            if place is not None:
                _write(place, rated)
        ratings.append(rated)
    return tuple(ratings)


def pooled(ratings: Sequence[Sequence[Rated]]) -> tuple[Rated, ...]:
    """The baselines on all parts of a cross-validation, with samples and columns of the first."""
    whole = []
    for of_parts in zip(*ratings, strict=True):
        scores = merged([rated.entry.scores for rated in of_parts], pool)
        first = of_parts[0]
        whole.append(dataclasses.replace(first, entry=dataclasses.replace(first.entry, scores=scores)))
    return tuple(whole)


def _rated(kind: type[Baseline], benchmark: Benchmark) -> Rated:
    dataset, cond = benchmark.dataset, benchmark.references.cond
    start = time.perf_counter()
    fitted = fit_baseline(kind, dataset.space, dataset.train.x, dataset.train.cond)
    seconds = time.perf_counter() - start
    x = fitted.sample(benchmark.n, None if cond is None else cond[: benchmark.n], benchmark.seed)
    drawing = 1e3 * (time.perf_counter() - start - seconds) / benchmark.n
    test = scored_examples(dataset, benchmark.protocol.likelihood_examples)
    scored = fitted.log_prob(test.x, test.cond, benchmark.seed)
    scored = dataclasses.replace(scored, outside=dataset.space.outside(test.x))
    likelihood = mean_likelihood(scored, dataset.space.unit)
    columns = () if scored.terms is None else tuple(scored.terms[scored.inside].double().mean(0).tolist())
    time_of_one = Measurement("milliseconds_per_sample", drawing, n=len(x), protocol="once", unit="ms", better="lower")
    scores = (likelihood, *benchmark.quality(x), time_of_one)
    return Rated(Entry(kind.name, (), scores), kind.summary, x, seconds, columns)


# --- storage ----------------------------------------------------------------------------------------------------------


def _key(kind: type[Baseline], benchmark: Benchmark) -> str:
    """A name for everything that the scores of a baseline depend on."""
    dataset, protocol = benchmark.dataset, benchmark.protocol
    data = (dataset.digest, dataset.seed, len(dataset.train), len(dataset.test), repr(dataset.space))
    measured = (benchmark.n, protocol.features, protocol.likelihood_examples, benchmark.seed)
    versions = (FORMAT, version("fourfold"))
    return hashlib.sha256(repr((kind.__qualname__, data, measured + versions)).encode()).hexdigest()[:16]


def _write(folder: Path, rated: Rated) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    save_samples(folder, {"x": rated.x})
    scores = [score.record() for score in rated.entry.scores]
    write_json(folder / "result.json", {"scores": scores, "seconds": rated.seconds, "columns": rated.columns})


def _load(folder: Path, kind: type[Baseline]) -> Rated | None:
    """The rating of a baseline in a folder. ``None`` if there is none, or it is incomplete."""
    x = load_samples(folder, "x")
    try:
        record = json.loads((folder / "result.json").read_text(encoding="utf-8"))
        scores = tuple(Measurement.from_record(score) for score in record["scores"])
        entry, columns = Entry(kind.name, (), scores), tuple(record["columns"])
        return None if x is None else Rated(entry, kind.summary, x, record["seconds"], columns)
    except (OSError, ValueError, KeyError):
        return None


def losses(entries: Sequence[Entry], baselines: Sequence[Rated]) -> dict[str, list[str]]:
    """The baselines that each entry loses to, with the scores that show it, by the entry's name.

    A score counts where its difference is significant over all entries, baselines and scores at once
    (:func:`~fourfold.tournament.ranking.adjusted_p`). Likelihoods count only if both are exact for the same tokens.
    """
    models, others = ([(e.name, _compared(e)) for e in group] for group in (entries, [r.entry for r in baselines]))
    cases = [
        (name, base, a, b)
        for name, scores in models
        for base, beside in others
        for a, b in zip(scores, beside, strict=True)
        if a is not None and b is not None
    ]
    p_values = adjusted_p([(a, b) for *_, a, b in cases])
    worse = dict[tuple[str, str], list[str]]()
    for (name, base, a, b), p in zip(cases, p_values, strict=True):
        if p <= RISK and (a.value > b.value if a.better == "lower" else a.value < b.value):
            worse.setdefault((name, base), []).append(label(a.name).partition(" (")[0])
    sentences: dict[str, list[str]] = {entry.name: [] for entry in entries}
    for (name, base), names in worse.items():
        sentences[name].append(f"loses to {base}: {', '.join(names)}")
    return sentences


def _compared(entry: Entry) -> list[Measurement | None]:
    """The headline and the exact likelihood of an entry, as they are ranked. ``None`` for what it does not have."""
    likelihood = entry.likelihood
    exact = likelihood if likelihood is not None and of_tokens(likelihood) else None
    return [None if score is None else score.ranked() for score in (entry.headline, exact)]
