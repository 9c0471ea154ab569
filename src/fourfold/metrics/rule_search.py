"""Rules found in rows, and the test that keeps chance rules out.

A rule counts only if independent columns would break it, and with two kinds of evidence:

* **chance**: where ``H`` hypotheses are tried, the probability that independent columns keep it in all rows is below
  ``CHANCE / H`` (Bonferroni). So a table of independent columns shows a rule with probability ``CHANCE`` at most.
* **support**: independent columns would break it in ``LEAST_SUPPORT`` rows or more. If the rule were only nearly true,
  and 3 % of the rows were independent, one of them would break it with probability 95 % (the rule of three). Of "``a``
  determines ``b``" ``LEAST_DEPENDENT`` such rows are enough.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from fourfold.metrics.rows import Array, Columns
from fourfold.metrics.rules import AddsUp, AtMost, Determines, ExactlyOne, LevelPairs, Rule, gaps_as_infinity

__all__ = ["find_rules", "near_rules"]

CHANCE = 1e-3
"""The probability that a table of independent columns shows a rule, at most."""
LEAST_SUPPORT = 100
"""Rows that would break a rule if its columns were independent, at least."""
LEAST_DEPENDENT = 50
"""The same for "``a`` determines ``b``", often a fact such as a city's country. 6 % would then break it so surely."""
LEAST_BROKEN = 0.01
"""The part of independent rows that would break a rule, at least: a rule that cannot be broken says nothing."""
LEAST_CROSSED = 0.05
"""The same for ``a <= b``: quantities of different sizes hardly cross."""
MOST_VALUES = 1000
"""Different values of a column that may determine another."""
LEAST_REPEATED = 5
"""Rows for each value of a column that determines another, on average, and for each pair of values."""
MOST_COLUMNS = 200
"""Columns among which rules are looked for: the first ones."""
MOST_ROWS = 200_000
"""Training rows that rules are looked for in."""
FEW = 1000
"""Rows that each candidate is tried on first, since most fail there."""
LEAST_KEPT = 0.99
"""The part of rows that keep a rule that is nearly true, at least."""
MOST_TERMS = 12
"""Terms of a sum."""
EXACT = 1e-6
"""The error of a sum that rounding explains, as a part of the spread of its total."""

Codes: TypeAlias = npt.NDArray[np.int64]


def find_rules(train: Tensor, columns: Columns) -> list[Rule]:
    """The rules that hold in every training row, with the evidence that the module asks for.

    There are ``a <= b`` for quantities of one unit, sums and differences of quantities, "``a`` determines ``b``" for
    columns of at most :data:`MOST_VALUES` values, pairs of categories of which only some occur, and groups of columns
    of two categories of which each row has the second in exactly one.

    Args:
        train: ``(N, C)``, gaps as NaN. Of very many, :data:`MOST_ROWS` are looked at.
        columns: of the rows.
    """
    search = _Search(train[:: -(-len(train) // MOST_ROWS) or 1, :MOST_COLUMNS].double(), columns)
    if len(search.x) < LEAST_DEPENDENT:
        return []
    return [*search.inequalities(), *search.sums(), *search.dependencies(), *search.groups(), *search.pairs()]


def near_rules(x: Tensor, columns: Columns) -> list[Rule]:
    """The rules ``a <= b`` and "``a`` determines ``b``" that some rows break, but :data:`LEAST_KEPT` of them keep.

    Independent columns would break each in twenty times as many rows, or more.

    Args:
        x: rows ``(N, C)``, gaps as NaN. Of very many, :data:`MOST_ROWS` are looked at.
        columns: of the rows.
    """
    search = _Search(x[:: -(-len(x) // MOST_ROWS) or 1, :MOST_COLUMNS].double(), columns)
    return [] if len(search.x) < LEAST_SUPPORT else [*search.near_inequalities(), *search.near_dependencies()]


@dataclass(frozen=True)
class _Search:
    """Rows ``(N, C)`` in which rules are looked for, and the meaning of their columns."""

    x: Tensor
    columns: Columns

    @cached_property
    def few(self) -> Tensor:
        """Some of the rows."""
        return self.x[:: self._step]

    @property
    def _step(self) -> int:
        return max(len(self.x) // FEW, 1)

    @cached_property
    def _quantities(self) -> list[int]:
        return [j for j in self.columns.quantities if j < self.x.shape[1]]

    @cached_property
    def _values(self) -> list[tuple[Array, Codes]]:
        """The different values of each column, and the place of each row's among them."""
        pairs = (np.unique(gaps_as_infinity(column), return_inverse=True) for column in self.x.T)
        return [(values, place.astype(np.int64)) for values, place in pairs]

    def _convincing(self, log_chance: float, support: float, hypotheses: int, least: float = LEAST_SUPPORT) -> bool:
        return support >= least and log_chance <= math.log(CHANCE / max(hypotheses, 1))

    def _likely(self, broken: float, rows: int, hypotheses: int) -> bool:
        """:meth:`_convincing` for a rule that a part of independent rows would break."""
        log_chance = rows * math.log(max(1 - broken, 1e-300))
        return broken >= LEAST_BROKEN and self._convincing(log_chance, broken * rows, hypotheses)

    # --- order --------------------------------------------------------------------------------------------------------

    def inequalities(self) -> Iterator[AtMost]:
        """``a <= b``."""
        places = self._quantities
        for a, b in itertools.permutations(places, 2):
            rule = AtMost(a, b)
            if self.columns.units[a] != self.columns.units[b] or rule.broken(self.few).any():
                continue
            low, high = self.x[:, [a, b]][~self.x[:, [a, b]].isnan().any(1)].T.numpy()
            if not len(low) or (low > high).any() or (low == high).all():
                continue
            broken = 1 - np.searchsorted(np.sort(low), np.sort(high), "right").mean() / len(low)
            if broken >= LEAST_CROSSED and self._likely(broken, len(low), len(places) * (len(places) - 1)):
                yield rule

    def near_inequalities(self) -> Iterator[AtMost]:
        """``a <= b`` but for a few rows."""
        for a, b in itertools.permutations(self._quantities, 2):
            rule = AtMost(a, b)
            if self.columns.units[a] != self.columns.units[b] or _share(rule, self.few) > 5 * (1 - LEAST_KEPT):
                continue
            low, high = self.x[:, [a, b]][~self.x[:, [a, b]].isnan().any(1)].T.numpy()
            broken = 1 - np.searchsorted(np.sort(low), np.sort(high), "right").mean() / max(len(low), 1)
            if 0 < _share(rule, self.x) <= min(1 - LEAST_KEPT, broken / 20):
                yield rule

    # --- sums ---------------------------------------------------------------------------------------------------------

    def sums(self) -> Iterator[AddsUp]:
        """Totals of two columns, of either sign, then totals of all columns that they depend on linearly."""
        groups: list[set[int]] = []
        totals: set[int] = set()
        of_two = list(self._pairs_of_terms())
        for rule in itertools.chain(of_two, self._many_terms({rule.total for rule in of_two})):
            group = {rule.total, *rule.parts}
            if rule.total not in totals and group not in groups:  # a = c - b says nothing new
                totals.add(rule.total)
                groups.append(group)
                yield rule

    def _pairs_of_terms(self) -> Iterator[AddsUp]:
        """``c = a + b`` for ``c`` from the last column to the first: a total mostly stands behind its parts."""
        places = self._quantities
        few = self.few[: FEW // 10, places]
        count = len(places) ** 3
        for k in reversed(range(len(places))):
            for sign in (1, -1):
                close = self._close(few, k, sign)
                for i, j in close.nonzero().tolist():
                    if k not in (i, j) and (i < j if sign > 0 else i != j):
                        rule = AddsUp(places[k], (places[i], places[j]), (1, sign))
                        if self._holds(rule, count):
                            yield rule

    @staticmethod
    def _close(few: Tensor, total: int, sign: int) -> Tensor:
        """For which pairs of columns ``a + b`` (or ``a - b``) is the total in a few rows, bool ``(C, C)``."""
        error = (few[:, :, None] + sign * few[:, None, :] - few[:, total, None, None]).abs()
        scale = few.abs().nan_to_num(0).amax(0).clamp(min=1)
        limit = EXACT * (scale[:, None] + scale[None] + scale[total])
        return ((error <= limit) | error.isnan()).all(0) & (~error.isnan()).any(0)

    def _many_terms(self, totals: set[int]) -> Iterator[AddsUp]:
        """A total of three columns or more, by least squares: its coefficients are 1, 0 and -1, and nothing is left.

        Totals of two columns are left out, since they depend on their parts.
        """
        places = [j for j in self._quantities if self.columns.units[j] != "time" and j not in totals]
        few = self.few[:, places]
        few = few[~few.isnan().any(1)]
        if len(few) < 3 * len(places) or len(places) < 4:
            return
        for k in reversed(range(len(places))):
            rest = [j for j in range(len(places)) if j != k]
            spread = few[:, rest].std(0).clamp(min=1e-12)
            weights = torch.linalg.lstsq(few[:, rest] / spread, few[:, k : k + 1], driver="gelsd").solution[:, 0]
            signs = (weights / spread).round().long().tolist()
            terms = [(places[j], sign) for j, sign in zip(rest, signs, strict=True) if sign]
            if 3 <= len(terms) <= MOST_TERMS and all(abs(sign) == 1 for _, sign in terms):
                rule = AddsUp(places[k], *(tuple(part) for part in zip(*terms, strict=True)))
                if self._holds(rule, len(places)):
                    yield rule

    def _holds(self, rule: AddsUp, hypotheses: int) -> bool:
        """True if it holds in all rows, and would not if any one of its columns were independent of the others."""
        together = [rule.total, *rule.parts]
        rows = self.x[~self.x[:, together].isnan().any(1)]
        if len(rows) < LEAST_SUPPORT or bool(rule.broken(rows).any()):
            return False
        order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(0))
        for j in together:
            mixed = rows.clone()
            mixed[:, j] = rows[order, j]
            if not self._likely(rule.broken(mixed).double().mean().item(), len(rows), hypotheses):
                return False
        return True

    # --- dependencies -------------------------------------------------------------------------------------------------

    def dependencies(self) -> Iterator[Determines]:
        """``a`` determines ``b``."""
        values = self._values
        usable = [1 < len(v) <= min(MOST_VALUES, len(self.x) // LEAST_REPEATED) for v, _ in values]
        for a, b in itertools.permutations(range(len(values)), 2):
            (first, at), (second, beside) = values[a], values[b]
            if not usable[a] or len(second) < 2 or _partner(at[:: self._step], beside[:: self._step]) is None:
                continue
            partner = _partner(at, beside)
            if partner is not None and self._depend(at, beside, len(values) * (len(values) - 1)):
                yield Determines(a, b, first, second[partner])

    def near_dependencies(self) -> Iterator[Determines]:
        """``a`` determines ``b`` but for a few rows: the most frequent partner counts."""
        for a, b in itertools.permutations(range(len(self._values)), 2):
            (first, at), (second, beside) = self._values[a], self._values[b]
            if not 1 < len(first) <= len(self.x) // LEAST_REPEATED or not 1 < len(second) <= MOST_VALUES:
                continue
            if len(first) > MOST_VALUES:
                continue
            counts = np.bincount(at * len(second) + beside, minlength=len(first) * len(second))
            partner = counts.reshape(len(first), -1).argmax(1)
            share, q = (partner[at] != beside).mean(), np.bincount(beside) / len(beside)
            if 0 < share <= min(1 - LEAST_KEPT, (1 - q.max()) / 20):
                yield Determines(a, b, first, second[partner])

    def _depend(self, a: Codes, b: Codes, hypotheses: int) -> bool:
        """The evidence. Independent columns keep it with probability ``prod_g sum_v q_v^n_g`` for ``n_g`` rows each."""
        sizes = np.bincount(a)
        q = np.bincount(b) / len(b)
        alike = np.log(np.maximum((q[:, None] ** np.unique(sizes)[None]).sum(0), 1e-300))
        log_chance = alike[np.searchsorted(np.unique(sizes), sizes)].sum()
        support = (sizes - 1).clip(min=0).sum() * (1 - (q**2).sum())
        convincing = self._convincing(float(log_chance), float(support), hypotheses, LEAST_DEPENDENT)
        return support / len(a) >= LEAST_BROKEN and convincing

    def pairs(self) -> Iterator[LevelPairs]:
        """Pairs of categories of which only some occur, each of these in :data:`LEAST_REPEATED` rows or more.

        If a further pair had a probability of 3 in as many rows, it would be there with probability 95 %.
        """
        places = [j for j in self.columns.categorical_columns if j < self.x.shape[1]]
        for a, b in itertools.combinations(places, 2):
            (first, at), (second, beside) = self._values[a], self._values[b]
            cells = len(first) * len(second)
            if min(len(first), len(second)) < 2 or cells > MOST_VALUES * 10:
                continue
            counts = np.bincount(at * len(second) + beside, minlength=cells).reshape(len(first), len(second))
            determined = (counts > 0).sum(1).max() == 1 or (counts > 0).sum(0).max() == 1
            if determined or counts[counts > 0].min() < LEAST_REPEATED:
                continue
            expected = counts.sum(1)[:, None] * counts.sum(0)[None] / len(self.x) ** 2
            broken = float(expected[counts == 0].sum())
            if self._likely(broken, len(self.x), len(places) * (len(places) - 1) // 2):
                yield LevelPairs(a, b, (first, second), torch.from_numpy(counts > 0))

    def groups(self) -> Iterator[ExactlyOne]:
        """Groups of columns of two categories, of which each row has the second in exactly one."""
        two = [j for j in self.columns.categorical_columns if j < self.x.shape[1]]
        two = [j for j in two if np.array_equal(self._values[j][0], [0.0, 1.0])]
        second = {j: self.x[:, j] == 1 for j in two}
        rest = list(two)
        while rest:
            group, covered = [rest[0]], second[rest[0]].clone()
            for j in rest[1:]:
                if not bool((covered & second[j]).any()):
                    group.append(j)
                    covered |= second[j]
            complete = len(group) > 2 and bool(covered.all())
            if complete and self._likely(1 - self._one_of(group), len(self.x), len(two)):
                yield ExactlyOne(tuple(group))
            rest = [j for j in rest if j not in group] if complete else rest[1:]

    def _one_of(self, group: Sequence[int]) -> float:
        """The probability that exactly one of independent columns has its second category."""
        p = self.x[:, list(group)].mean(0).clamp(1e-9, 1 - 1e-9)
        return float((p / (1 - p)).sum() * (1 - p).prod())


def _share(rule: Rule, x: Tensor) -> float:
    """The part of rows that break a rule."""
    return rule.broken(x).double().mean().item()


def _partner(a: Codes, b: Codes) -> Codes | None:
    """The code of ``b`` that goes with each code of ``a``. ``None`` if one goes with two."""
    partner = np.zeros(int(a.max()) + 1, dtype=np.int64)
    partner[a] = b
    return partner if (partner[a] == b).all() else None
