"""Differential privacy: the guarantee, the accountant, and the secret that draws batches and noise.

Its names are imported when first used: a card is read without numpy.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # the same names as in _WHERE
    from fourfold.privacy.guarantee import Guarantee, guarantee_words, parse_guarantee
    from fourfold.privacy.protection import Protection, new_secret

__all__ = ["Guarantee", "Protection", "guarantee_words", "new_secret", "parse_guarantee"]

_WHERE = {
    "Guarantee": "guarantee",
    "Protection": "protection",
    "guarantee_words": "guarantee",
    "new_secret": "protection",
    "parse_guarantee": "guarantee",
}


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module 'fourfold.privacy' has no attribute {name!r}")
    return getattr(importlib.import_module(f"fourfold.privacy.{_WHERE[name]}"), name)
