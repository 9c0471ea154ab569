"""Rows that a link may name, by likeness: the row of the parent that is nearest to the columns that were drawn."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.neighbors import NearestNeighbors

__all__ = ["matches", "role_places"]

CLOSE = 32
"""Nearest rows among which a link upwards looks for an earlier one."""
JITTER = 1e-3
"""Noise, in standard deviations, that makes rows which are alike equally likely."""
MANY = 100
"""The most categories of a column that are told from each other."""


def matches(
    samples: pd.DataFrame,
    parents: pd.DataFrame,
    generator: np.random.Generator,
    places: npt.NDArray[np.int64] | None = None,
    among: int = 1,
) -> npt.NDArray[np.int64]:
    """The place of a parent's row for each drawn row: the nearest one, of several that are alike any.

    The distance is Euclidean. Numbers are in standard deviations of the parents, and two categories differ by 1.

    Args:
        samples: the columns of the parent as a model of the child draws them, ``(n, C)``.
        parents: the same columns of the rows that there are, ``(m, C)``.
        generator: breaks ties.
        places: of the drawn rows in their own table, where that is the parent: a row then names an earlier one. The
            first has none, and gets 0.
        among: any of so many nearest rows is named.

    Returns:
        ``(n,)``, each in ``0 .. m - 1``.
    """
    if not samples.shape[1]:
        limit = len(parents) if places is None else np.maximum(places, 1)
        return generator.integers(limit, size=len(samples))
    targets, queries = _coordinates(parents, parents), _coordinates(samples, parents)
    targets = targets + JITTER * generator.standard_normal(targets.shape)
    queries = queries + JITTER * generator.standard_normal(queries.shape)
    near = NearestNeighbors(n_neighbors=min(among if places is None else CLOSE, len(parents))).fit(targets)
    close = near.kneighbors(queries, return_distance=False)
    if places is None:
        return close[np.arange(len(close)), generator.integers(close.shape[1], size=len(close))].astype(np.int64)
    earlier = close < places[:, None]
    nearest = close[np.arange(len(close)), earlier.argmax(1)]
    return np.where(earlier.any(1), nearest, generator.integers(np.maximum(places, 1))).astype(np.int64)


def role_places(
    roles: pd.Series, samples: pd.DataFrame, parents: pd.DataFrame, generator: np.random.Generator
) -> npt.NDArray[np.int64]:
    """The place of a parent's row for each drawn row, the same for all of one role, and another for each role.

    A role gets the row that is nearest to the mean of what was drawn for it. The most frequent role chooses first.

    Args:
        roles: of the drawn rows, ``(n,)``.
        samples: the columns of the parent as a model of the child draws them, ``(n, C)``.
        parents: the same columns of the rows that there are, ``(m, C)``. Roles share rows if there are fewer.
        generator: breaks ties.
    """
    codes, names = pd.factorize(roles.astype(str))
    points = np.zeros((len(parents), 1)) if not samples.shape[1] else _coordinates(parents, parents)
    queries = np.zeros((len(samples), 1)) if not samples.shape[1] else _coordinates(samples, parents)
    points = points + JITTER * generator.standard_normal(points.shape)
    place = np.zeros(len(names), dtype=np.int64)
    unnamed = np.ones(len(parents), dtype=np.bool_)
    for code in np.argsort(-np.bincount(codes, minlength=len(names)), kind="stable"):
        if names[code] in ("", "nan"):  # these name none
            continue
        unnamed = unnamed if unnamed.any() else ~unnamed
        distance = ((points - queries[codes == code].mean(0)) ** 2).sum(1)
        place[code] = np.where(unnamed, distance, np.inf).argmin()
        unnamed[place[code]] = False
    return place[codes]


def _coordinates(rows: pd.DataFrame, parents: pd.DataFrame) -> npt.NDArray[np.float64]:
    """Rows as points: numbers in standard deviations of the parents, one coordinate a category."""
    parts = []
    for name in parents:
        scale = pd.to_numeric(parents[name], errors="coerce").astype("float64")
        if scale.notna().mean() > 0.5:
            values = pd.to_numeric(rows[name], errors="coerce").astype("float64")
            spread = float(scale.std(ddof=0)) or 1.0
            parts.append(((values - scale.mean()) / spread).fillna(0.0).to_numpy()[:, None])
            continue
        categories = parents[name].astype(str).value_counts().index[:MANY]
        parts.append((rows[name].astype(str).to_numpy()[:, None] == categories.to_numpy()[None]) / np.sqrt(2))
    return np.concatenate(parts, 1).astype(np.float64)
