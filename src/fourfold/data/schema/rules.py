"""The rules of a table as its models keep them, found in training rows."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from typing import NamedTuple, cast

import numpy as np
import torch
from torch import Tensor

from fourfold.core import Space
from fourfold.data.dataset import Dataset
from fourfold.data.schema.tails import ends_of
from fourfold.metrics.rule_search import MOST_VALUES, find_rules, near_rules
from fourfold.metrics.rules import AddsUp, AtMost, Determines, ExactlyOne, LevelPairs, Rule
from fourfold.spaces import Table
from fourfold.spaces.columns import POOL, UNSEEN, Categorical, Graded, Modelled, Numeric
from fourfold.spaces.rules import AtLeast, Combinations, FreeRows, TableRule, Total

__all__ = ["RuleRow", "rule_rows", "ruled", "rules_of"]

FEW_VALUES = 100
"""Different numbers of a column whose combinations with another are counted: between more, new ones may lie."""
EXAMPLES = 10_000
"""Arbitrary rows that keep the rules of a space: if none of them breaks another rule, that one follows."""
ROWS = 200_000
"""Rows that rules are looked for in, at most."""


def ruled(space: Table, x: Tensor, whole: Tensor | None, support: int, order: str | None = None) -> Table:
    """A table with the rules of its training rows. See :func:`rules_of`."""
    if len(space.modelled) < 2:
        return space
    searched = Table(space.modelled)
    return dataclasses.replace(space, rules=rules_of(searched, x, whole, support, order))


def _table(space: Space) -> Table | None:
    """A space of single rows of mixed columns. ``None`` for another one."""
    return cast("Table", space) if space.mixed and len(space.shape) == 1 else None


def rules_of(
    space: Table, x: Tensor, whole: Tensor | None = None, support: int = 1, order: str | None = None
) -> tuple[TableRule, ...]:
    """The rules of rows ``(N, C)`` that a table can keep by what it computes, each column by one of them at most.

    Combinations come first, then sums, then inequalities. A rule of columns that others compute already is left out.

    Args:
        space: of the rows.
        x: training rows.
        whole: the rows with codes of their own for categories that are pooled or replaced, ``(N, C)``. Rules are looked
            for among these and in rows without such categories. Rows with them take the nearest combination.
        support: the rows that an end of a column of distances stands for, and the least of a combination with a pool.
        order: the column that orders rows. It may bound others, and no rule computes it.
    """
    replaced = torch.zeros_like(x, dtype=torch.bool) if whole is None else x != whole
    step = -(-len(x) // ROWS) or 1
    train, cells = x[::step], replaced[::step]
    candidates = find_rules(space.numbers(train[~cells.any(1)]), space.meaning)
    if whole is not None and bool(cells.any()):  # a small table may have hardly a row without rare categories
        texts = {rule.words(space.columns) for rule in candidates}
        more = find_rules(space.numbers(whole[::step]), space.meaning)
        candidates += [r for r in more if isinstance(r, Determines) and r.words(space.columns) not in texts]
    if order is not None:
        candidates = [rule for rule in candidates if _leaves(rule, space.columns.index(order))]
    totals = _totals(space, [rule for rule in candidates if isinstance(rule, AddsUp)])
    at_most = [rule for rule in candidates if isinstance(rule, AtMost)]
    rules: list[TableRule] = []
    inequalities = _inequalities(space, train, at_most, totals, support)
    for rule in (*_combinations(space, train, cells, candidates, support), *totals, *inequalities):
        if _fits(space, [*rules, rule], x, replaced):
            rules.append(rule)
    return tuple(rules)


def _leaves(rule: Rule, at: int) -> bool:
    """Whether a rule leaves a column free: it is not of the column, or of others that are not below it."""
    if isinstance(rule, AtMost):
        return rule.b != at
    if isinstance(rule, AddsUp):
        return at not in (rule.total, *rule.parts)
    return at not in (rule.columns if isinstance(rule, ExactlyOne) else (rule.a, rule.b))


class RuleRow(NamedTuple):
    """A rule of a table, the share of all rows that keep it, and whether every sample does."""

    rule: str
    share: float
    always: bool


def rule_rows(dataset: Dataset, order: str | None = None) -> list[RuleRow]:
    """The rules of a table: those that samples always keep, then others of all training rows, then nearly true ones.

    Args:
        dataset: of the rows.
        order: the column that orders them, if they are modelled as sequences.
    """
    space = _table(dataset.space)
    if space is None:
        return []
    if order is not None:
        space = ruled(space, dataset.train.x, None, 1, order)
    samples = space.numbers(space.examples(EXAMPLES, torch.Generator().manual_seed(0)))
    train, every = (space.numbers(part) for part in (dataset.train.x, _every(dataset)))
    rules = {rule.words(space.columns): rule for rule in find_rules(train, space.meaning)}
    rules |= {rule.words(space.columns): rule for rule in near_rules(train, space.meaning)}
    shares = {text: 1 - float(rule.broken(every).double().mean()) for text, rule in rules.items()}
    rows = [
        RuleRow(text, shares[text], shares[text] == 1 and not bool(rule.broken(samples).any()))
        for text, rule in rules.items()
    ]
    return sorted(rows, key=lambda row: (not row.always, -row.share))


def _every(dataset: Dataset) -> Tensor:
    """All rows."""
    parts = [dataset.train.x, dataset.validation.x]
    return torch.cat(parts if dataset.test is dataset.validation else [*parts, dataset.test.x])


def _fits(space: Table, rules: Sequence[TableRule], x: Tensor, replaced: Tensor) -> bool:
    """True if rules can stand together and hold in all rows, which come back as they were."""
    try:
        free = FreeRows(space.modelled, rules)
    except ValueError:
        return False
    parts = zip(torch.split(x, ROWS), torch.split(replaced, ROWS), strict=True)
    return all(_come_back(free, free.settled(*part)) for part in parts)  # all at once would take several times as much


def _come_back(free: FreeRows, x: Tensor) -> bool:
    """True if all rows without new values are the same after reduction and expansion."""
    x = x[~(x == UNSEEN).any(1)]
    y = free.reduce(x)
    return not bool((y == UNSEEN).any()) and torch.equal(free.expand(y), x)


# --- combinations -----------------------------------------------------------------------------------------------------


def _combinations(
    space: Table, x: Tensor, replaced: Tensor, candidates: Iterable[Rule], support: int
) -> list[TableRule]:
    """Groups of columns that have few combinations: a column with those it determines, one-hot groups, pairs."""
    names = space.columns
    closed = [isinstance(c, Categorical) or c.span[1] - c.span[0] < FEW_VALUES for c in space.modelled]
    groups: list[tuple[tuple[int, ...], list[Rule]]] = []
    by_source: dict[int, list[Determines]] = {}
    for rule in candidates:
        if isinstance(rule, Determines) and closed[rule.a]:
            by_source.setdefault(rule.a, []).append(rule)
        elif isinstance(rule, ExactlyOne):
            groups.append((rule.columns, [rule]))
        elif isinstance(rule, LevelPairs):
            groups.append(((rule.a, rule.b), [rule]))
    dependencies = [((a, *(r.b for r in rules)), list[Rule](rules)) for a, rules in by_source.items()]
    dependencies.sort(key=lambda group: -len(group[0]))  # the one that determines most comes first
    earlier: set[int] = set()
    result: list[TableRule] = []
    for columns, rules in [*dependencies, *groups]:
        free = [j for j in columns if j not in earlier]
        complete = len(free) == len(columns) or (
            len(free) > 1 and isinstance(rules[0], Determines) and free[0] == columns[0]
        )
        if not complete:
            continue
        rows = _listed(space, x, replaced, free, support)
        if not 0 < len(rows) <= MOST_VALUES:
            continue
        earlier.update(free)
        text = "; ".join(r.words(names) for r in rules if not isinstance(r, Determines) or r.b in free)
        result.append(Combinations(tuple(names[j] for j in free), tuple(rows), text))
    return result


def _listed(space: Table, x: Tensor, replaced: Tensor, places: Sequence[int], support: int) -> list[tuple[int, ...]]:
    """The combinations of some columns: those without replaced categories, then those of pools in enough rows."""
    pools = torch.tensor([getattr(space.modelled[j], "other", None) == POOL for j in places])
    part, cells = x[:, places], replaced[:, places]
    present = ~(part == UNSEEN).any(1)
    plain = torch.unique(part[present & ~cells.any(1)], dim=0)
    pooled = part[present & cells.any(1) & (~cells | pools).all(1)]
    rows, counts = torch.unique(pooled, dim=0, return_counts=True)
    rows = rows[(-counts).argsort(stable=True)][: int((counts >= support).sum())]  # the most frequent first
    return [*dict.fromkeys(map(tuple, [*plain.tolist(), *rows.tolist()]))]


# --- sums and inequalities --------------------------------------------------------------------------------------------


def _totals(space: Table, candidates: Iterable[AddsUp]) -> list[TableRule]:
    names = space.columns
    return [
        Total(names[rule.total], tuple(names[j] for j in rule.parts), rule.signs, rule.words(names))
        for rule in candidates
    ]


def _inequalities(
    space: Table, x: Tensor, candidates: Sequence[AtMost], totals: Sequence[TableRule], support: int
) -> list[TableRule]:
    """For each column the distance to the largest of the columns below it, but for those that follow from others.

    A total does not bound its own parts, since it is computed from them.
    """
    parts = {(total.columns[0], part) for total in totals for part in total.columns[1:]}
    pairs = {(r.a, r.b) for r in candidates if (space.columns[r.a], space.columns[r.b]) not in parts}
    names, result = space.columns, list[TableRule]()
    for b in sorted({b for _, b in pairs}):
        below = [a for a, other in pairs if other == b]
        nearest = sorted(a for a in below if not any((a, c) in pairs for c in below if c != a))
        result.append(_at_least(space, x, b, nearest, [AtMost(a, b).words(names) for a in nearest], support))
    return result


def _at_least(space: Table, x: Tensor, b: int, bases: Sequence[int], texts: Sequence[str], support: int) -> AtLeast:
    """The rule, with the column of distances that these rows have."""
    column: Modelled = space.modelled[b]
    assert isinstance(column, Graded)
    names = space.columns
    empty = Numeric(f"{column.name} above {' and '.join(names[a] for a in bases)}", resolution=column.resolution)
    empty = dataclasses.replace(empty, missing=column.missing)
    values = x[:, b][x[:, b] > UNSEEN]
    below = max(column.low - int(values.min()), 0) if len(values) else 0
    least = column.low - (1 << below.bit_length() if below else 0)  # rounded, so that it is no row's value
    rule = AtLeast(column.name, tuple(names[a] for a in bases), empty, "; ".join(texts), least)
    free = FreeRows(space.modelled, [rule])
    d = free.reduce(x)[:, free.sources.index(rule)]
    codes, counts = np.unique(d[d > UNSEEN].numpy(), return_counts=True)
    return dataclasses.replace(rule, distance=dataclasses.replace(empty, **ends_of(codes, counts, support)))
