"""Trains every paradigm on the same data and budget, and reports: :func:`fourfold.compare` and its parts.

Its names are imported when first used: the command line reads the settings of a comparison without torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # the same names as in _WHERE
    from fourfold.tournament.comparison import Comparison
    from fourfold.tournament.entries import Entry, combine
    from fourfold.tournament.gathering import gather
    from fourfold.tournament.judgement import Judgement, judge
    from fourfold.tournament.race import Race, fit_best
    from fourfold.tournament.settings import Settings
    from fourfold.tournament.tournament import compare, print_jobs, run_comparison

__all__ = [
    "Comparison",
    "Entry",
    "Judgement",
    "Race",
    "Settings",
    "combine",
    "compare",
    "fit_best",
    "gather",
    "judge",
    "print_jobs",
    "run_comparison",
]

_WHERE = {
    "Comparison": "comparison",
    "Entry": "entries",
    "Judgement": "judgement",
    "Race": "race",
    "Settings": "settings",
    "combine": "entries",
    "compare": "tournament",
    "fit_best": "race",
    "gather": "gathering",
    "judge": "judgement",
    "print_jobs": "tournament",
    "run_comparison": "tournament",
}


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module 'fourfold.tournament' has no attribute {name!r}")
    return getattr(importlib.import_module(f"fourfold.tournament.{_WHERE[name]}"), name)
