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
from fourfold.data import Dataset
from fourfold.metrics import Measurement, References
from fourfold.runs.files import write_json
from fourfold.tasks.evaluation import mean_likelihood, quality, scored_examples
from fourfold.tournament.entries import Entry, of_tokens
from fourfold.tournament.jobs import FORMAT
from fourfold.tournament.ranking import apart
from fourfold.tournament.samples import keep, kept
from fourfold.tournament.settings import Protocol
from fourfold.tournament.words import label

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


def rate(
    dataset: Dataset,
    n: int,
    chosen: References,
    protocol: Protocol,
    seed: int,
    folder: Path | None = None,
    resume: bool = True,
) -> tuple[Rated, ...]:
    """Fit each baseline of the space to the training split, draw ``n`` samples and score both as those of models.

    Args:
        dataset: the data.
        n: the number of samples.
        chosen: the examples that they are compared with.
        protocol: how they are measured.
        seed: of the samples.
        folder: keeps what is found, so that the same comparison does not compute it again.
        resume: whether what the folder holds is taken.
    """
    found = []
    for kind in baselines_of(dataset.space):
        place = None if folder is None else folder / _key(kind, dataset, n, protocol, seed)
        rated = _read(place, kind) if place is not None and resume else None
        if rated is None:
            rated = _rated(kind, dataset, n, chosen, protocol, seed)
            if place is not None:
                _write(place, rated)
        found.append(rated)
    return tuple(found)


def _rated(kind: type[Baseline], dataset: Dataset, n: int, chosen: References, protocol: Protocol, seed: int) -> Rated:
    start = time.perf_counter()
    fitted = fit_baseline(kind, dataset.space, dataset.train.x, dataset.train.cond)
    seconds = time.perf_counter() - start
    x = fitted.sample(n, None if chosen.cond is None else chosen.cond[:n], seed)
    drawing = 1e3 * (time.perf_counter() - start - seconds) / n
    test = scored_examples(dataset, protocol.likelihood_examples)
    scored = fitted.log_prob(test.x, test.cond, seed)
    scored = dataclasses.replace(scored, outside=dataset.space.outside(test.x))
    likelihood = mean_likelihood(scored, dataset.space.unit)
    columns = () if scored.pieces is None else tuple(scored.pieces[scored.inside].double().mean(0).tolist())
    time_of_one = Measurement("milliseconds_per_sample", drawing, n=n, protocol="once", unit="ms", better="lower")
    scores = (likelihood, *quality(x, dataset, chosen, protocol.features), time_of_one)
    return Rated(Entry(kind.name, (), scores), kind.summary, x, seconds, columns)


# --- what is kept -----------------------------------------------------------------------------------------------------


def _key(kind: type[Baseline], dataset: Dataset, n: int, protocol: Protocol, seed: int) -> str:
    """A name for everything that the scores of a baseline depend on."""
    data = (dataset.digest, dataset.seed, len(dataset.train), len(dataset.test), repr(dataset.space))
    measured = (n, protocol.features, protocol.likelihood_examples, seed, FORMAT, version("fourfold"))
    return hashlib.sha256(repr((kind.__qualname__, data, measured)).encode()).hexdigest()[:16]


def _write(folder: Path, rated: Rated) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    keep(folder, {"x": rated.x})
    scores = [score.record() for score in rated.entry.scores]
    write_json(folder / "result.json", {"scores": scores, "seconds": rated.seconds, "columns": rated.columns})


def _read(folder: Path, kind: type[Baseline]) -> Rated | None:
    """What a folder holds of a baseline; ``None`` if it holds nothing, or nothing whole."""
    x = kept(folder, "x")
    try:
        known = json.loads((folder / "result.json").read_text(encoding="utf-8"))
        scores = tuple(Measurement.from_record(score) for score in known["scores"])
        entry, columns = Entry(kind.name, (), scores), tuple(known["columns"])
        return None if x is None else Rated(entry, kind.summary, x, known["seconds"], columns)
    except (OSError, ValueError, KeyError):
        return None


def losses(entry: Entry, baselines: Sequence[Rated]) -> list[str]:
    """The baselines that an entry loses to, each with the scores that show it.

    A score counts where both are :func:`~fourfold.tournament.ranking.apart`. Likelihoods count only if both are exact
    for the same tokens.
    """
    found = []
    for rated in baselines:
        pairs = [(entry.headline, rated.entry.headline)]
        own, other = entry.likelihood, rated.entry.likelihood
        if own is not None and other is not None and of_tokens(own) and of_tokens(other):
            pairs.append((own, other))
        lost = [label(a.name).partition(" (")[0] for a, b in pairs if a is not None and b is not None and _worse(a, b)]
        if lost:
            found.append(f"loses to {rated.entry.name}: {', '.join(lost)}")
    return found


def _worse(a: Measurement, b: Measurement) -> bool:
    a, b = a.ranked(), b.ranked()
    return apart(a, b) and (a.value > b.value if a.better == "lower" else a.value < b.value)
