"""fourfold: train, sample, score, compare and place generative models of every paradigm.

Public names are imported when first used, so ``import fourfold`` loads no torch. Installed wings add names of their own
(:mod:`fourfold.extensions`).
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # the public names for type checkers, editors and the documentation: the same as in _WHERE
    from fourfold.core import (
        Batch,
        Codec,
        Estimand,
        GenerativeModel,
        Likelihood,
        LogProb,
        Noise,
        Objective,
        Sampler,
        Space,
        Term,
        count_evaluations,
        view,
    )
    from fourfold.data import Dataset, load
    from fourfold.engine import Run, fit, train
    from fourfold.paradigms import build
    from fourfold.spaces import Images, Sequences, Table, Text, Vectors
    from fourfold.tournament import Comparison, Judgement, Race, compare, fit_best, judge
    from fourfold.vocabulary import Card, Kind, Paradigm, Principle

__version__ = "0.2.0"

_WHERE = {
    "fourfold.core": (
        "Batch Codec Estimand GenerativeModel Likelihood LogProb Noise Objective Sampler Space Term count_evaluations "
        "view"
    ),
    "fourfold.vocabulary": "Card Kind Paradigm Principle",
    "fourfold.spaces": "Images Sequences Table Text Vectors",
    "fourfold.paradigms": "build",
    "fourfold.data": "Dataset load",
    "fourfold.engine": "Run fit train",
    "fourfold.tournament": "Comparison Judgement Race compare fit_best judge",
}
_PUBLIC = {name: module for module, names in _WHERE.items() for name in names.split()}

__all__ = [
    "Batch",
    "Card",
    "Codec",
    "Comparison",
    "Dataset",
    "Estimand",
    "GenerativeModel",
    "Images",
    "Judgement",
    "Kind",
    "Likelihood",
    "LogProb",
    "Noise",
    "Objective",
    "Paradigm",
    "Principle",
    "Race",
    "Run",
    "Sampler",
    "Sequences",
    "Space",
    "Table",
    "Term",
    "Text",
    "Vectors",
    "__version__",
    "build",
    "compare",
    "count_evaluations",
    "fit",
    "fit_best",
    "judge",
    "load",
    "train",
    "view",
]


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        point = importlib.import_module("fourfold.extensions").extensions("fourfold.names").get(name)
        if point is not None:
            return point.load()
        raise AttributeError(f"module 'fourfold' has no attribute {name!r}")
    importlib.import_module("fourfold.machine.threads").let_threads_sleep()  # torch reads this once, when it is loaded
    return getattr(importlib.import_module(_PUBLIC[name]), name)


def __dir__() -> list[str]:
    return [*__all__, *importlib.import_module("fourfold.extensions").extensions("fourfold.names")]
