"""A comparison that takes seconds, for tests of where its runs are made."""

from pathlib import Path
from typing import Any

import fourfold

__all__ = ["SMALL", "SOURCE"]

SMALL: dict[str, Any] = {
    "budget": "60 steps",
    "paradigms": ("adversarial", "flow"),
    "size": "xs",
    "precision": "float32",
    "device": "cpu",
    "n": 64,
    "likelihood_examples": 16,
    "patience": 5.0,
    "sweep": False,
}
SOURCE = str(Path(fourfold.__file__).parents[1])
"""The folder to import fourfold from, for processes that start with an environment of their own."""
