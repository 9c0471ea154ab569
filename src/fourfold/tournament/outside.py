"""Samples of any other system in a comparison: read as examples of the data, and measured as those of a model are."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

from fourfold.baselines import baselines_of
from fourfold.data import Data, Dataset, Split, read_all
from fourfold.metrics import Measurement
from fourfold.paradigms import cards
from fourfold.settings.data import name_of
from fourfold.tasks.conditional_quality import measure_pairs
from fourfold.tasks.evaluation import examples, permutation, quality
from fourfold.tournament.baselines import Rated
from fourfold.tournament.benchmark import Benchmark
from fourfold.tournament.entries import Entry
from fourfold.tournament.settings import Settings
from fourfold.vocabulary import Kind

__all__ = ["FEWEST", "Outside", "of_settings", "paths_by_name", "rate_outside", "read_outside"]

FEWEST = 16
"""The fewest samples that are measured. A comparison judges no model by fewer either."""
SUMMARY = "Samples of another system. Its budget is not known, and samples alone tell no likelihood"
WITHOUT = "samples alone tell no likelihood"


@final
@dataclass(frozen=True)
class Outside:
    """The samples of a system by its name, with their own conditions, if they have some."""

    name: str
    split: Split

    def __len__(self) -> int:
        return len(self.split)


def paths_by_name(words: Sequence[str]) -> dict[str, str]:
    """Names and paths of samples, of arguments ``NAME=PATH``, or of paths, whose stems are the names.

    Raises:
        ValueError: for two of one name.
    """
    paths: dict[str, str] = {}
    for word in words:
        name, sign, path = word.partition("=")
        name, path = (name, path) if sign and not Path(word).exists() else (Path(word).stem, word)
        if not name or not path or name in paths:
            raise ValueError(f"samples must be NAME=PATH with a name of its own each, got {word!r}; rename one")
        paths[name] = path
    return paths


def read_outside(
    name: str, samples: Data, dataset: Dataset, options: Mapping[str, Any], say: Callable[[str], None]
) -> Outside:
    """Read samples as examples of the space of a data set, all at once, and say which changes that made.

    Args:
        name: of the system.
        samples: a file, a folder, an array or a data frame.
        dataset: the data that they should resemble.
        options: settings of :func:`fourfold.load`, of which ``labels`` and ``skip_bad`` are followed.
        say: is called with each note.

    Raises:
        DataError: for samples that the space does not hold, with their place.
        ValueError: for too few samples.
    """
    reading = {key: options[key] for key in ("labels", "skip_bad") if options.get(key) is not None}
    split, notes = read_all(samples, dataset.space, **reading, wrong=True)
    if len(split) < FEWEST:
        raise ValueError(
            f"{name_of(samples, name)}: samples must be at least {FEWEST} {_items(dataset)} to be measured, got "
            f"{len(split)}; give more"
        )
    for note in notes:
        say(f"{name}: {note}")
    if dataset.space.conditional and split.cond is None:
        say(f"{name}: has no conditions, so its pairs of an example and its condition are not measured")
    return Outside(name, split)


def of_settings(settings: Settings, dataset: Dataset, say: Callable[[str], None]) -> list[Outside]:
    """The samples that the settings of a comparison name.

    Raises:
        ValueError: for the name of a paradigm or of a baseline, which stands in the same table.
    """
    options, paths = settings.data_options or {}, paths_by_name(settings.samples or ())
    model_names = {*cards(), *(kind.name for kind in baselines_of(dataset.space))}
    for name in paths:
        if name.partition("/")[0] in model_names:
            raise ValueError(f"samples must have another name than a model, got {name!r}; give NAME={paths[name]}")
    return [read_outside(name, path, dataset, options, say) for name, path in paths.items()]


def _items(dataset: Dataset) -> str:
    window = dataset.space.window
    return dataset.space.item_name if window is None else f"windows of {window} {dataset.space.item_name}"


def rate_outside(outside: Outside, benchmark: Benchmark) -> Rated:
    """Measure the samples of another system, the first ``benchmark.n`` of a fixed permutation of them.

    They have no conditions of test examples. So floors are draws of training examples with any conditions, and pairs
    are samples with their own conditions, if these are known.
    """
    rows = permutation(len(outside))[: benchmark.n].sort().values
    x, cond = outside.split.x[rows], outside.split.cond
    dataset = benchmark.dataset
    plain = dataclasses.replace(dataset, space=dataset.space.conditioned_on(None))
    references = examples(plain, benchmark.protocol.n)
    scores = quality(x, plain, references, benchmark.protocol.features)
    if cond is not None:
        of_pairs = dataclasses.replace(references, cond=benchmark.references.cond)
        scores += measure_pairs(x, dataset, of_pairs, cond[rows])
    none = Measurement("likelihood", math.nan, protocol=WITHOUT, unit=dataset.space.unit, kind=Kind.NONE)
    return Rated(Entry(outside.name, (), (none, *scores)), SUMMARY, x, math.nan)
