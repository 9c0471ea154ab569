"""The rules of a table as its models keep them, found in training rows."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from typing import NamedTuple, TypeVar, cast

import numpy as np
import torch
from torch import Tensor

from fourfold.core import Space
from fourfold.data.dataset import Dataset
from fourfold.data.schema.tails import ends_of
from fourfold.metrics.rule_search import MOST_VALUES, find_rules, near_rules
from fourfold.metrics.rules import AddsUp, AtMost, Determines, ExactlyOne, LevelPairs, Rule
from fourfold.settings.data import DataOptions
from fourfold.spaces import Sequences, Table
from fourfold.spaces.columns import UNSEEN, Categorical, Graded, Modelled, Numeric
from fourfold.spaces.rules import AtLeast, Combinations, FreeRows, TableRule, Total

__all__ = ["RuleRow", "rule_rows", "ruled", "ruled_sequences", "rules_of"]

FEW_VALUES = 100
"""Different numbers of a column whose combinations with another are counted: between more, new ones may lie."""
S = TypeVar("S", bound=Space)
EXAMPLES = 10_000
"""Arbitrary rows that keep the rules of a space: if none of them breaks another rule, that one follows."""
ROWS = 200_000
"""Rows that rules are looked for in, at most."""


def ruled(space: S, x: Tensor, plain: Tensor, support: int) -> S:
    """The space with the rules of its training rows, where it is a table. See :func:`rules_of`."""
    table = _table(space)
    return space if table is None else cast("S", dataclasses.replace(table, rules=rules_of(table, x, plain, support)))


def ruled_sequences(dataset: Dataset) -> Dataset:
    """A set of sequences with the rules that all their rows keep, but for those of the order column."""
    space = cast("Sequences", dataset.space)
    columns = [i for i in range(len(space.columns)) if i != space.at]
    if len(columns) < 2:
        return dataset
    table = Table(tuple(space.modelled[i] for i in columns))
    train, every = (x[space.present(x)][:, columns] for x in (dataset.train.x, _every(dataset)))
    candidates = rules_of(table, train, support=DataOptions().support)
    rules = dataclasses.replace(table, rules=candidates).confirmed(every).rules
    return dataclasses.replace(dataset, space=dataclasses.replace(space, rules=rules))


def _table(space: Space) -> Table | None:
    """A space of single rows of mixed columns. ``None`` for another one."""
    return cast("Table", space) if space.mixed and len(space.shape) == 1 else None


def rules_of(space: Table, x: Tensor, plain: Tensor | None = None, support: int = 1) -> tuple[TableRule, ...]:
    """The rules of rows ``(N, C)`` that a table can keep by what it computes, each column by one of them at most.

    Combinations come first, then sums, then inequalities. A rule of columns that others compute already is left out.

    Args:
        space: of the rows.
        x: training rows.
        plain: which of them hold no pooled category, ``(N,)``: rules are looked for among these.
        support: the rows that an end of a column of distances stands for.
    """
    train = x[:: -(-len(x) // ROWS) or 1]
    searched = train if plain is None else train[plain[:: -(-len(x) // ROWS) or 1]]
    candidates = find_rules(space.numbers(searched), space.meaning)
    totals = _totals(space, [rule for rule in candidates if isinstance(rule, AddsUp)])
    at_most = [rule for rule in candidates if isinstance(rule, AtMost)]
    rules: list[TableRule] = []
    inequalities = _inequalities(space, train, at_most, totals, support)
    for rule in (*_combinations(space, train, candidates), *totals, *inequalities):
        if _fits(space, [*rules, rule], x):
            rules.append(rule)
    return tuple(rules)


class RuleRow(NamedTuple):
    """A rule of a table, the share of all rows that keep it, and whether every sample does."""

    rule: str
    share: float
    always: bool


def rule_rows(dataset: Dataset) -> list[RuleRow]:
    """The rules of a table: those that samples always keep, then others of all training rows, then nearly true ones."""
    space = _table(dataset.space)
    if space is None:
        return []
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


def _fits(space: Table, rules: Sequence[TableRule], x: Tensor) -> bool:
    """True if rules can stand together and hold in all rows, which come back as they were."""
    try:
        free = FreeRows(space.modelled, rules)
    except ValueError:
        return False
    return all(
        _come_back(free, part) for part in torch.split(x, ROWS)
    )  # all at once would take several times their memory


def _come_back(free: FreeRows, x: Tensor) -> bool:
    """True if all rows without new values are the same after reduction and expansion."""
    x = x[~(x == UNSEEN).any(1)]
    y = free.reduce(x)
    return not bool((y == UNSEEN).any()) and torch.equal(free.expand(y), x)


# --- combinations -----------------------------------------------------------------------------------------------------


def _combinations(space: Table, x: Tensor, candidates: Iterable[Rule]) -> list[TableRule]:
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
        rows = torch.unique(x[:, free][~(x[:, free] == UNSEEN).any(1)], dim=0)
        if len(rows) > MOST_VALUES:
            continue
        earlier.update(free)
        text = "; ".join(r.words(names) for r in rules if not isinstance(r, Determines) or r.b in free)
        result.append(Combinations(tuple(names[j] for j in free), tuple(map(tuple, rows.tolist())), text))
    return result


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
