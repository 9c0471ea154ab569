"""The rules between the tables of a database, and how many rows keep them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import final

import numpy as np
import numpy.typing as npt

from fourfold.data import load
from fourfold.data.schema.rules import RuleRow, rule_rows
from fourfold_databases.bounds import orders_of
from fourfold_databases.database import Database
from fourfold_databases.derived import CLOSE, Copy, Derived, Tally, numbers
from fourfold_databases.plan import FEWEST, ROW, Plan, in_order, owner_rows, plans
from fourfold_databases.reading import gaps_in
from fourfold_databases.schema import Link

__all__ = ["RuleCheck", "rule_checks", "rule_shares", "rules_of"]

HOLDS = 0.99
"""The share of rows from which an order of two times is a rule."""


@final
@dataclass(frozen=True)
class RuleCheck:
    """How often rows keep a rule.

    Attributes:
        name: the rule.
        real: the share of rows of the real database.
        synthetic: that of the synthetic one.
        link: between the tables of the rule. ``None`` for a rule within a table.
    """

    name: str
    real: float
    synthetic: float
    link: Link | None = None

    def __str__(self) -> str:
        return f"{self.name}: in {self.synthetic:.1%} of the rows, in the real database in {self.real:.1%}"


def rule_checks(real: Database, samples: Database) -> tuple[RuleCheck, ...]:
    """The rules of a real database, with the shares of its rows and of synthetic rows that keep them."""
    plan = plans(real)
    synthetic = {name: share for name, _, share in rule_shares(samples, plan)}
    return tuple(RuleCheck(name, share, synthetic[name], link) for name, link, share in rule_shares(real, plan))


def rules_of(database: Database) -> list[RuleRow]:
    """The rules between the tables of a database, and then those within each: see :func:`rule_rows`."""
    plan = plans(database)
    rows = [RuleRow(name, share, share == 1) for name, _, share in rule_shares(database, plan)]
    for table, frame in database.frames.items():
        if plan[table].own and len(frame) >= FEWEST:
            order = plan[table].order if plan[table].order != ROW else None
            inside = rule_rows(load(frame[[*plan[table].own]], space="table"), order)
            rows += [row._replace(rule=f"{table}: {row.rule}") for row in inside]
    return rows


def rule_shares(database: Database, plan: Mapping[str, Plan]) -> Iterator[tuple[str, Link | None, float]]:
    """Each rule between tables, the link that it follows, and the share of the rows that keep it.

    Args:
        database: whose rows are counted.
        plan: with the rules. Orders in time that nearly all rows keep are rules too.
    """
    for table in database.schema.order:
        owner, own = database.schema.owner(table), plan[table]
        for item in own.derived:
            yield item.words(table), _link(database, item, table), _share(_keeps(database, item, table))
        if owner is None:
            continue
        rows, above = database.frames[table], owner_rows(database.frames, database.schema, owner)
        for bound in dict.fromkeys([*own.bounds, *orders_of(own.times, plan[owner.parent].times)]):
            excess = bound.excess(rows, above)
            share = _share((excess <= 0)[~np.isnan(excess)])
            if bound in own.bounds or share >= HOLDS:
                yield bound.words(table, owner.parent), owner, share
        if own.counters:
            ordered = rows if own.order in (None, ROW) else in_order(rows, str(own.order))
            place = ordered.groupby(owner.column, sort=False).cumcount().to_numpy()
            for name, first in own.counters:
                keeps = numbers(ordered[name]) == place + first
                yield f"{table}.{name} numbers the rows of one {owner.parent}", owner, _share(keeps)


def _share(keeps: npt.NDArray[np.bool_]) -> float:
    return float(keeps.mean()) if len(keeps) else math.nan


def _link(database: Database, item: Derived, table: str) -> Link | None:
    """The link that a derived column follows."""
    if isinstance(item, Tally):
        return next(link for link in database.schema.links_of(item.child) if link.column == item.link)
    if isinstance(item, Copy):
        return next(link for link in database.schema.links_of(table) if link.column == item.link)
    return None


def _keeps(database: Database, item: Derived, table: str) -> npt.NDArray[np.bool_]:
    """Which rows hold in a derived column the value that others decide."""
    values = item.values(database.frames, database.schema, table, as_text=False)
    assert values is not None, "a database has all columns"
    own, values = database.frames[table][item.column], values.reset_index(drop=True)
    gaps = (gaps_in(own) & gaps_in(values)).to_numpy()
    if getattr(item, "form", None) is None:
        return (own.astype(str) == values.astype(str)).to_numpy() | gaps
    close = np.abs(numbers(own) - numbers(values)) <= CLOSE * np.maximum(np.abs(numbers(values)), 1)
    return close | gaps
