"""Rules that every training row keeps, found by looking, and categories that few training rows have."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TypeAlias, final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from fourfold.metrics.floor import Draws, floor_of
from fourfold.metrics.rows import Array, Columns
from fourfold.metrics.score import Floor, Measurement, mean_interval

__all__ = ["AtMost", "Determines", "Rule", "find_rules", "rare_categories", "violations"]

LEAST_BROKEN = 0.01
"""The part of independent rows that would break a rule, at least: a rule that cannot be broken says nothing."""
MOST_VALUES = 1000
"""Different values of a column that may determine another."""
LEAST_REPEATED = 5
"""Rows for each value of a column that determines another, on average: with fewer, it may be so by chance."""
MOST_COLUMNS = 200
"""Columns among which rules are looked for: the first ones."""
MOST_ROWS = 200_000
"""Training rows that rules are looked for in."""
RARE = 0.01
"""The part of training rows that a rare category has, at most."""

Codes: TypeAlias = npt.NDArray[np.int64]


@final
@dataclass(frozen=True)
class AtMost:
    """``a <= b`` where both are known."""

    a: int
    b: int

    def words(self, names: tuple[str, ...]) -> str:
        """The rule as a person writes it."""
        return f"{names[self.a]} ≤ {names[self.b]}"

    def broken(self, x: Tensor) -> Tensor:
        """Which rows break it, ``(n,)``."""
        return x[:, self.a] > x[:, self.b]  # a gap compares as false


@final
@dataclass(frozen=True)
class Determines:
    """Rows with the same value in column ``a`` have the same value in column ``b``. A gap is a value.

    Attributes:
        a, b: the columns.
        values: of ``a`` in the training rows, sorted, a gap as infinity.
        partners: the value of ``b`` beside each.
    """

    a: int
    b: int
    values: Array
    partners: Array

    def words(self, names: tuple[str, ...]) -> str:
        """The rule as a person writes it."""
        return f"{names[self.a]} determines {names[self.b]}"

    def broken(self, x: Tensor) -> Tensor:
        """Which rows break it, ``(n,)``: a value of ``a`` that no training row has breaks nothing."""
        a, b = (_gaps_as_infinity(x[:, j]) for j in (self.a, self.b))
        at = np.searchsorted(self.values, a).clip(max=len(self.values) - 1)
        return torch.from_numpy((self.values[at] == a) & (self.partners[at] != b))


Rule: TypeAlias = AtMost | Determines


def _gaps_as_infinity(values: Tensor) -> Array:
    """Values with gaps as infinity, which sorts and equals itself."""
    return values.double().nan_to_num(nan=torch.inf).numpy()


def find_rules(train: Tensor, columns: Columns) -> list[Rule]:
    """The rules that hold in every training row and that independent columns would break.

    Pairs of columns are looked at: ``a <= b`` for quantities of one unit, and "``a`` determines ``b``" for columns of
    at most :data:`MOST_VALUES` values. Each pair is first tried on a few rows, since most fail there.

    Args:
        train: ``(N, C)``. Of very many, :data:`MOST_ROWS` are looked at.
        columns: of the rows.
    """
    x = train[:: -(-len(train) // MOST_ROWS), :MOST_COLUMNS]
    few = x[:: max(len(x) // 1000, 1)]
    return [*_inequalities(x, few, columns), *_dependencies(x, few)]


def _inequalities(x: Tensor, few: Tensor, columns: Columns) -> list[Rule]:
    rules: list[Rule] = []
    here = [j for j in columns.quantities if j < x.shape[1]]
    for a, b in itertools.permutations(here, 2):
        rule = AtMost(a, b)
        if columns.units[a] != columns.units[b] or rule.broken(few).any() or rule.broken(x).any():
            continue
        complete = ~x[:, [a, b]].isnan().any(1)
        low, high = (np.sort(x[complete, j].double().numpy()) for j in (a, b))
        broken = 1 - np.searchsorted(low, high, "right").mean() / len(low) if len(low) else 0.0
        same = bool((x[complete, a] == x[complete, b]).all())
        if complete.double().mean() * broken >= LEAST_BROKEN and not same:
            rules.append(rule)
    return rules


def _dependencies(x: Tensor, few: Tensor) -> list[Rule]:
    rules: list[Rule] = []
    values, codes = [], []
    for j in range(x.shape[1]):
        categories, place = np.unique(_gaps_as_infinity(x[:, j]), return_inverse=True)
        values.append(categories)
        codes.append(place)
    step = max(len(x) // 1000, 1)
    usable = [1 < len(v) <= min(MOST_VALUES, len(x) // LEAST_REPEATED) for v in values]
    assert len(few) == len(codes[0][::step])
    for a, b in itertools.permutations(range(len(values)), 2):
        if not usable[a] or len(values[b]) < 2 or _partner(codes[a][::step], codes[b][::step], len(values[a])) is None:
            continue
        partner = _partner(codes[a], codes[b], len(values[a]))
        if partner is None:
            continue
        p, q = (np.bincount(codes[j], minlength=len(values[j])) / len(x) for j in (a, b))
        if 1 - p @ q[partner] >= LEAST_BROKEN:
            rules.append(Determines(a, b, values[a], values[b][partner]))
    return rules


def _partner(a: Codes, b: Codes, count: int) -> Codes | None:
    """The code of ``b`` that goes with each code of ``a``. ``None`` if one goes with two."""
    partner = np.zeros(count, dtype=np.int64)
    partner[a] = b
    return partner if (partner[a] == b).all() else None


def violations(x: Tensor, test: Tensor, rules: list[Rule], columns: Columns) -> Measurement:
    """The share of samples that break one of the rules. The floor is that share of held-out rows.

    Args:
        x: samples.
        test: rows that no training has seen.
        rules: from :func:`find_rules`.
        columns: of the rows.
    """
    hits, floor = (_broken(rows, rules) for rows in (x, test))
    shares = sorted(
        ((rule.broken(x).double().mean().item(), rule.words(columns.names)) for rule in rules), reverse=True
    )
    worst = ", ".join(f"{words} ({100 * share:.1f} %)" for share, words in shares[:3] if share > 0)
    words = (
        f"{len(rules)} rules that every training row keeps and that independent columns would break (a ≤ b, a "
        f"determines b){'; most often broken: ' + worst if worst else ''}; floor: {len(test)} held-out rows; interval "
        "over samples (Agresti, Coull 1998)"
    )
    value, low, high = mean_interval(hits, share=True)
    score = Measurement("broken_rules[pairs of columns]", value, low, high, n=len(x), protocol=words, better="lower")
    return score.beside(Floor(*mean_interval(floor, share=True)))


def _broken(x: Tensor, rules: list[Rule]) -> Tensor:
    broken = torch.zeros(len(x), dtype=torch.bool)
    for rule in rules:
        broken |= rule.broken(x)
    return broken


def rare_categories(
    x: Tensor, y: Tensor, columns: Columns, all_train: Tensor, train: Draws | None = None
) -> Measurement | None:
    """The share of rare categories that samples have, of those that the test rows have. ``None`` if these have none.

    A category is rare if at most one training row in a hundred has it.

    Args:
        x: samples.
        y: test rows.
        columns: of the rows.
        all_train: training rows, whose shares say what is rare.
        train: training rows that stand in the samples' place for the floor.
    """
    rare = []
    for j in columns.categorical_columns:
        values, counts = np.unique(_gaps_as_infinity(all_train[:, j]), return_counts=True)
        few = values[(counts <= RARE * len(all_train)) & np.isfinite(values)]
        rare.append((j, np.intersect1d(few, _gaps_as_infinity(y[:, j]))))

    def hits(rows: Tensor) -> Tensor:
        return torch.from_numpy(
            np.concatenate(
                [np.isin(few, _gaps_as_infinity(rows[:, j])) for j, few in rare] or [np.zeros(0, dtype=bool)]
            )
        )

    categories_hit, name = hits(x), "coverage[rare categories]"
    if not len(categories_hit):
        return None
    words = (
        f"{len(categories_hit)} categories of at most {RARE:.0%} of {len(all_train)} training rows that {len(y)} test "
        f"rows have: the share that {len(x)} samples have; interval over categories (Agresti, Coull 1998)"
    )
    value, low, high = mean_interval(categories_hit, share=True)
    score = Measurement(
        name, value, low, high, n=len(x), protocol=words, better="higher", references=len(categories_hit), share=True
    )
    return score.beside(floor_of(train, len(x), lambda rows: hits(rows).double().mean().item()))
