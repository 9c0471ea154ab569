"""Trains every paradigm on the same data and budget, and reports: :func:`fourfold.compare` and its parts."""

from __future__ import annotations

from fourfold.tournament.comparison import Comparison
from fourfold.tournament.entries import Entry, combine
from fourfold.tournament.gathering import gather
from fourfold.tournament.settings import Settings
from fourfold.tournament.tournament import compare, print_jobs, run_comparison

__all__ = ["Comparison", "Entry", "Settings", "combine", "compare", "gather", "print_jobs", "run_comparison"]
