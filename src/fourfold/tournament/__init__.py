"""Trains every paradigm on the same data and budget, and reports: :func:`fourfold.compare` and its parts."""

from __future__ import annotations

from fourfold.tournament.comparison import Comparison
from fourfold.tournament.entries import Entry, combine
from fourfold.tournament.settings import Settings
from fourfold.tournament.tournament import compare, run_comparison

__all__ = ["Comparison", "Entry", "Settings", "combine", "compare", "run_comparison"]
