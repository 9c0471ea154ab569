"""Rules that rows keep, such as ``a <= b``, and categories that few training rows have."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias, final

import numpy as np
import torch
from torch import Tensor

from fourfold.metrics.floor import Draws, floor_of
from fourfold.metrics.rows import Array, Columns
from fourfold.metrics.score import Floor, Measurement, mean_interval

__all__ = [
    "AddsUp",
    "AtMost",
    "Determines",
    "ExactlyOne",
    "LevelPairs",
    "Rule",
    "gaps_as_infinity",
    "rare_categories",
    "violations",
]

RARE = 0.01
"""The part of training rows that a rare category has, at most."""
CLOSE = 1e-6
"""The error of a sum that rounding explains, as a part of its largest term."""


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
        a, b = (gaps_as_infinity(x[:, j]) for j in (self.a, self.b))
        at = np.searchsorted(self.values, a).clip(max=len(self.values) - 1)
        return torch.from_numpy((self.values[at] == a) & (self.partners[at] != b))


@final
@dataclass(frozen=True)
class AddsUp:
    """``total = sum of the parts``, each with its sign, where all are known."""

    total: int
    parts: tuple[int, ...]
    signs: tuple[int, ...]

    def words(self, names: tuple[str, ...]) -> str:
        """The rule as a person writes it."""
        terms = [f"{'+' if sign > 0 else '−'} {names[j]}" for j, sign in zip(self.parts, self.signs, strict=True)]
        return f"{names[self.total]} = {' '.join(terms).removeprefix('+ ')}"

    def broken(self, x: Tensor) -> Tensor:
        """Which rows break it, ``(n,)``."""
        terms = x[:, list(self.parts)].double() * torch.tensor(self.signs)
        scale = terms.abs().amax(1).maximum(x[:, self.total].double().abs()).clamp(min=1)
        return (terms.sum(1) - x[:, self.total]).abs() > CLOSE * scale  # a gap compares as false


@final
@dataclass(frozen=True)
class ExactlyOne:
    """Exactly one of columns of two categories has the second: a category in one column for each of its values."""

    columns: tuple[int, ...]

    def words(self, names: tuple[str, ...]) -> str:
        """The rule as a person writes it."""
        return f"exactly one of {', '.join(names[j] for j in self.columns)}"

    def broken(self, x: Tensor) -> Tensor:
        """Which rows break it, ``(n,)``."""
        return (x[:, list(self.columns)] == 1).sum(1) != 1


@final
@dataclass(frozen=True)
class LevelPairs:
    """Columns ``a`` and ``b`` have only pairs of values that training rows have. A gap is a value.

    Attributes:
        a, b: the columns.
        values: of ``a`` and ``b`` in the training rows, sorted, a gap as infinity.
        possible: which pairs there are, bool.
    """

    a: int
    b: int
    values: tuple[Array, Array]
    possible: Tensor

    def words(self, names: tuple[str, ...]) -> str:
        """The rule as a person writes it."""
        count = int(self.possible.sum())
        return f"{names[self.a]} and {names[self.b]} have only {count} of {self.possible.numel()} pairs of values"

    def broken(self, x: Tensor) -> Tensor:
        """Which rows break it, ``(n,)``: values that no training row has break nothing."""
        places, inside = [], np.ones(len(x), dtype=bool)
        for j, values in zip((self.a, self.b), self.values, strict=True):
            column = gaps_as_infinity(x[:, j])
            places.append(np.searchsorted(values, column).clip(max=len(values) - 1))
            inside &= values[places[-1]] == column
        return ~self.possible[torch.from_numpy(places[0]), torch.from_numpy(places[1])] & torch.from_numpy(inside)


Rule: TypeAlias = AtMost | Determines | AddsUp | ExactlyOne | LevelPairs


def gaps_as_infinity(values: Tensor) -> Array:
    """Values with gaps as infinity, which sorts and equals itself."""
    return values.double().nan_to_num(nan=torch.inf).numpy()


def violations(x: Tensor, test: Tensor, rules: list[Rule], columns: Columns) -> Measurement:
    """The share of samples that break one of the rules. The floor is that share of held-out rows.

    Args:
        x: samples.
        test: rows that no training has seen.
        rules: from :func:`fourfold.metrics.rule_search.find_rules`.
        columns: of the rows.
    """
    hits, floor = (_broken(rows, rules) for rows in (x, test))
    shares = sorted(
        ((rule.broken(x).double().mean().item(), rule.words(columns.names)) for rule in rules), reverse=True
    )
    worst = ", ".join(f"{words} ({100 * share:.1f} %)" for share, words in shares[:3] if share > 0)
    often = f"; most often broken: {worst}" if worst else ""
    words = (
        f"{len(rules)} rules that every training row keeps and that independent columns would break (a ≤ b, sums, a "
        f"determines b, pairs of values, exactly one of several){often}; floor: {len(test)} held-out rows; interval "
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
        values, counts = np.unique(gaps_as_infinity(all_train[:, j]), return_counts=True)
        few = values[(counts <= RARE * len(all_train)) & np.isfinite(values)]
        rare.append((j, np.intersect1d(few, gaps_as_infinity(y[:, j]))))

    def hits(rows: Tensor) -> Tensor:
        return torch.from_numpy(
            np.concatenate([np.isin(few, gaps_as_infinity(rows[:, j])) for j, few in rare] or [np.zeros(0, dtype=bool)])
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
