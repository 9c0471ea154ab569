"""The sets that scikit-learn brings along."""

from __future__ import annotations

from typing import Any

__all__ = ["bundled"]


def bundled(name: str) -> Any:
    """A set by its name in ``sklearn.datasets``: an object with ``data``, ``target`` and the like."""
    from sklearn import datasets  # takes longer to load than most sets

    return getattr(datasets, f"load_{name}")()
