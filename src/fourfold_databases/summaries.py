"""Summaries of the rows that each row of a parent owns, which later tables of the same owner are given.

A summary is a function of the rows, so conditioning on it leaves the likelihood of a unit an exact product. It keeps of
the dependence of two such tables what numbers of rows, means, first and last values and most frequent categories tell.
"""

from __future__ import annotations

import pandas as pd

from fourfold_databases.plan import ROW, Plan, in_order
from fourfold_databases.reading import places_in
from fourfold_databases.schema import Link

__all__ = ["summary"]


def summary(child: pd.DataFrame, link: Link, plan: Plan, keys: pd.Series) -> pd.DataFrame:
    """A row for each row of a parent, in the order of ``keys``: about the rows of a child that it owns.

    It has the number of rows. Of a sequence it has the first and last value of each column, the mean of a number and
    the most frequent category. Where each row owns one row at most, it has that row.

    Args:
        child: the rows of the child, with the link to their owner.
        link: from the child to its owner.
        plan: that of the child.
        keys: of the parent's rows.
    """
    places = places_in(keys, child[link.column])
    owned = child.assign(**{link.column: places})[places >= 0]
    rows = owned if plan.order in (None, ROW) else in_order(owned, str(plan.order))
    groups = rows.groupby(link.column, sort=False)
    described = [*plan.described]
    parts = {"rows": groups.size().to_frame(), "last": groups[described].last()}
    if not plan.alone:
        numbers = rows[[*plan.quantities]].apply(pd.to_numeric, errors="coerce")
        parts["mean"] = numbers.groupby(rows[link.column], sort=False).mean().round(3)
        parts["first"] = groups[described].first()
        parts |= {"often": pd.DataFrame({name: _often(rows, link.column, name) for name in plan.categories})}
    frames = [frame.set_axis([f"{link.child} {word} {n}" for n in frame], axis=1) for word, frame in parts.items()]
    whole = pd.concat(frames, axis=1).rename(columns={f"{link.child} rows 0": f"{link.child} rows"})
    whole = whole.reindex(range(len(keys)))
    return whole.assign(**{f"{link.child} rows": whole[f"{link.child} rows"].fillna(0).astype(int)})


def _often(rows: pd.DataFrame, owner: str, name: str) -> pd.Series:
    """The most frequent category of each owner's rows. Of several the first in their order."""
    counts = rows.groupby([owner, name], sort=True, observed=True).size().rename(ROW).reset_index()
    counts = counts.sort_values(ROW, ascending=False, kind="stable").drop_duplicates(owner)
    return counts.set_index(owner)[name].astype(object)
