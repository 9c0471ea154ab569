"""Every paradigm on the same data under the same budget, and a report of it.

The package can be called: ``fourfold.compare("digits")`` is ``fourfold.compare.compare("digits")``.
"""

from __future__ import annotations

import sys
from types import ModuleType

from fourfold.compare.comparison import Comparison
from fourfold.compare.entries import Entry, combine
from fourfold.compare.settings import Settings
from fourfold.compare.tournament import compare

__all__ = ["Comparison", "Entry", "Settings", "combine", "compare"]


class _Callable(ModuleType):
    """A module named after its one function: once imported, it hides the function of that name in ``fourfold``."""

    __call__ = staticmethod(compare)


sys.modules[__name__].__class__ = _Callable
