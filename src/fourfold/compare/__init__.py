"""Every paradigm on the same data under the same budget, and a report of it."""

from __future__ import annotations

from fourfold.compare.comparison import Comparison, Entry, combine, compare

__all__ = ["Comparison", "Entry", "combine", "compare"]
