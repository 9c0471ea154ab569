"""fourfold: train, sample, score, compare and place generative models of every paradigm.

Public names are imported when first used, so ``import fourfold`` loads no torch.
"""

from __future__ import annotations

import importlib
from typing import Any

__version__ = "0.2.0"

_WHERE = {
    "fourfold.core": (
        "Batch Codec Estimand GenerativeModel Likelihood LogProb Noise Objective Sampler Space Term count_evaluations "
        "view"
    ),
    "fourfold.vocabulary": "Card Kind Paradigm Principle",
    "fourfold.spaces": "Images Text Vectors",
    "fourfold.paradigms": "build",
    "fourfold.data": "Dataset load",
    "fourfold.engine": "Run fit train",
    "fourfold.tournament": "compare",
    "fourfold.atlas": "Placement place",
}
_PUBLIC = {name: module for module, names in _WHERE.items() for name in names.split()}
__all__ = ["__version__", "atlas", *sorted(_PUBLIC)]  # noqa: PLE0604 - all strings: the rule does not see through the star


def __getattr__(name: str) -> Any:
    if name == "atlas":
        return importlib.import_module("fourfold.atlas")
    if name not in _PUBLIC:
        raise AttributeError(f"module 'fourfold' has no attribute {name!r}")
    return getattr(importlib.import_module(_PUBLIC[name]), name)


def __dir__() -> list[str]:
    return __all__
