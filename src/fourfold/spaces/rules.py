"""Rules that every row of a table keeps, and the rows without them: a bijection that models need not learn.

A rule makes a part of a row superfluous. Where ``c = a + b``, a model of ``a`` and ``b`` knows ``c``. Where ``a <= b``,
it learns ``b - a``. Where two columns have few pairs of values, it learns the number of the pair. So rows that keep all
rules are rows of fewer or other columns, one to one. Hence masses stay as they are, sum to 1, and every sample of every
model keeps every rule.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TypeAlias, final

import torch
from torch import Tensor

from fourfold.output.printable import shortened
from fourfold.spaces.columns import FARTHEST, MISSING, POOL, UNSEEN, Categorical, Graded, Modelled, Numeric

__all__ = ["AtLeast", "Combinations", "FreeRows", "TableRule", "Total"]

FINE = 1e-9
"""Steps of a grid by which rounding may miss it."""
HARDLY = 1e-3
"""The weight of a replaced value beside the others of its row."""


@final
@dataclass(frozen=True)
class Combinations:
    """Columns have only some combinations of values: one determines another, or exactly one of several is true.

    Attributes:
        columns: their names.
        rows: the codes of each combination.
        text: the rule as a person writes it.
    """

    columns: tuple[str, ...]
    rows: tuple[tuple[int, ...], ...]
    text: str


@final
@dataclass(frozen=True)
class AtLeast:
    """A quantity is at least as large as each of its bases that is known. Models learn its distance to the largest.

    Attributes:
        column: its name.
        bases: those of the other columns.
        distance: the column of distances. Where no base is known, the distance is that to the least value.
        text: the rule as a person writes it.
        least: the code from which distances count where no base is known. ``None``: the low end of the column.
    """

    column: str
    bases: tuple[str, ...]
    distance: Numeric
    text: str
    least: int | None = None

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of all columns of the rule."""
        return (self.column, *self.bases)


@final
@dataclass(frozen=True)
class Total:
    """A quantity is the sum of others, each with a sign. It is missing where one of them is.

    Attributes:
        column: its name.
        parts: those of the others.
        signs: 1 or -1 for each.
        text: the rule as a person writes it.
    """

    column: str
    parts: tuple[str, ...]
    signs: tuple[int, ...]
    text: str

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of all columns of the rule."""
        return (self.column, *self.parts)


TableRule: TypeAlias = Combinations | AtLeast | Total


class FreeRows:
    """Rows of a table without the parts that rules decide, and the way back.

    Args:
        columns: of the table.
        rules: each column is computed by one of them at most.

    Raises:
        ValueError: for a rule of a column that is not there, or columns that depend on themselves.
    """

    def __init__(self, columns: Sequence[Modelled], rules: Sequence[TableRule]) -> None:
        self.whole, self.rules = tuple(columns), tuple(rules)
        names = {column.name: i for i, column in enumerate(columns)}
        for name in (name for rule in rules for name in rule.columns):
            if name not in names:
                raise ValueError(f"rules must be of columns of the table, got {name!r}")
        self._places = {rule: tuple(names[name] for name in rule.columns) for rule in rules}
        self._members = {i: rule for rule in rules if isinstance(rule, Combinations) for i in self._places[rule]}
        self._derived = {self._places[rule][0]: rule for rule in rules if not isinstance(rule, Combinations)}
        if self._members.keys() & self._derived.keys() or len(self._members) + len(self._derived) < sum(
            len(self._places[rule]) if isinstance(rule, Combinations) else 1 for rule in rules
        ):
            raise ValueError("each column must be computed by one rule at most")
        self._order = list(self._sorted())

    def _sorted(self) -> Iterator[int]:
        """The columns that are computed from others, each behind those."""
        waiting = dict(self._derived)
        while waiting:
            ready = [i for i, rule in waiting.items() if not set(self._places[rule][1:]) & waiting.keys()]
            if not ready:
                raise ValueError("a column must not be computed from itself")
            for i in ready:
                del waiting[i]
            yield from ready

    # --- columns ------------------------------------------------------------------------------------------------------

    @cached_property
    def sources(self) -> tuple[int | TableRule, ...]:
        """For each free column the column that it is, or the rule that it belongs to."""
        sources: list[int | TableRule] = []
        for i in range(len(self.whole)):
            rule: TableRule | None = self._members.get(i) or self._derived.get(i)
            if rule is None:
                sources.append(i)
            elif isinstance(rule, AtLeast) or (isinstance(rule, Combinations) and self._places[rule][0] == i):
                sources.append(rule)
        return tuple(sources)

    @property
    def places(self) -> list[int]:
        """For each free column a column of the table that it is a part of."""
        return [source if isinstance(source, int) else self._places[source][0] for source in self.sources]

    @cached_property
    def columns(self) -> tuple[Modelled, ...]:
        """The free columns."""
        return tuple(
            self.whole[source]
            if isinstance(source, int)
            else source.distance
            if isinstance(source, AtLeast)
            else self._numbered(source)
            for source in self.sources
            if not isinstance(source, Total)
        )

    def _numbered(self, rule: Combinations) -> Categorical:
        """The column whose categories are combinations."""
        names = [f"{k}" for k in range(len(rule.rows))]
        return Categorical(shortened(rule.columns, 3), "str", categories=tuple(names))

    def place(self, name: str) -> int | None:
        """The free column that a column of the table is a part of. ``None`` for one that is computed."""
        i = [column.name for column in self.whole].index(name)
        source = self._members.get(i) or self._derived.get(i) or i
        return self.sources.index(source) if source in self.sources else None

    def limits(self, i: int) -> tuple[int, int]:
        """The smallest and the largest code of a column of the table that has a mass."""
        column, rule = self.whole[i], self._derived.get(i)
        if i in self._members or rule is None or not isinstance(column, Graded):
            return column.limits if isinstance(column, Graded) else column.span
        ends = [[self._scaled(j, i, end) for end in self.limits(j)] for j in self._places[rule][1:]]
        if isinstance(rule, AtLeast):
            least, most = rule.distance.limits
            low = min([self._least(rule), *(low for low, _ in ends)])
            high = max([self._least(rule), *(high for _, high in ends)])
            return max(math.ceil(low + least - FINE), -FARTHEST), min(math.ceil(high + most - FINE), FARTHEST)
        assert isinstance(rule, Total)
        pairs = [sorted((sign * low, sign * high)) for sign, (low, high) in zip(rule.signs, ends, strict=True)]
        return round(sum(low for low, _ in pairs)), round(sum(high for _, high in pairs))

    def _scaled(self, j: int, i: int, code: float) -> float:
        """A code of column ``j`` on the grid of column ``i``."""
        a, b = self.whole[j], self.whole[i]
        assert isinstance(a, Graded)
        assert isinstance(b, Graded)
        return code * (a.resolution / b.resolution)

    # --- rows ---------------------------------------------------------------------------------------------------------

    def reduce(self, x: Tensor) -> Tensor:
        """Rows ``(B, C)`` as free rows ``(B, F)``. One that breaks a rule has :data:`UNSEEN` in a free column."""
        parts = []
        for source in self.sources:
            if isinstance(source, int):
                parts.append(x[:, source])
            elif isinstance(source, AtLeast):
                parts.append(self._distance(x, source))
            elif isinstance(source, Combinations):
                parts.append(self._number(x[:, list(self._places[source])], source))
        free = torch.stack(parts, 1)
        wrong = torch.zeros(len(x), dtype=torch.bool, device=x.device)
        for i, rule in self._derived.items():
            if isinstance(rule, Total):
                wrong |= x[:, i] != self._total(x, rule)
        free[wrong, 0] = UNSEEN
        return free

    def expand(self, y: Tensor) -> Tensor:
        """The rows ``(B, C)`` of free rows ``(B, F)``."""
        x = y.new_zeros(len(y), len(self.whole))
        for j, source in enumerate(self.sources):
            if isinstance(source, int):
                x[:, source] = y[:, j]
            elif isinstance(source, Combinations):
                rows = self._rows(source, y.device)
                x[:, list(self._places[source])] = rows[y[:, j].clamp(0, len(rows) - 1)]
        for i in self._order:
            rule = self._derived[i]
            if isinstance(rule, Total):
                x[:, i] = self._total(x, rule)
            else:
                d = y[:, self.sources.index(rule)]
                x[:, i] = torch.where(d <= UNSEEN, d, d + self._floor(x, rule))
        return x

    def settled(self, x: Tensor, replaced: Tensor) -> Tensor:
        """Rows ``(B, C)``, of which those whose replaced categories make no combination get the nearest one.

        A category that few rows have counts as another one, which may not stand beside the other values of its row.

        Args:
            x: the rows.
            replaced: which categories stand for one that is not listed, bool ``(B, C)``.
        """
        for rule, places in self._places.items():
            if not isinstance(rule, Combinations) or not bool(replaced[:, list(places)].any()):
                continue
            part, cells = x[:, list(places)], replaced[:, list(places)]
            alone = (self._number(part, rule) == UNSEEN) & cells.any(1) & ~(part == UNSEEN).any(1)
            if bool(alone.any()):
                both = torch.cat([part[alone], cells[alone].long()], 1)
                rows, inverse = torch.unique(both, dim=0, return_inverse=True)
                x = x.clone()
                x[alone.nonzero(), torch.tensor(places)] = self._nearest(rows, rule)[inverse]
        return x

    def _nearest(self, rows: Tensor, rule: Combinations) -> Tensor:
        """The combination ``(B, m)`` that is nearest to each row ``(B, 2 m)``: codes, and which of them are replaced.

        Categories that differ are 1 apart, quantities a part of their range. A replaced value hardly counts.
        """
        there, distance = self._rows(rule, rows.device), torch.zeros(len(rows), len(rule.rows), dtype=torch.float64)
        for m, place in enumerate(self._places[rule]):
            column, a, b = self.whole[place], rows[:, m, None], there[None, :, m]
            apart = (a != b).double()
            if isinstance(column, Graded):
                part = (a - b).abs() / max(column.span[1] - column.span[0], 1)
                apart = torch.where((a <= UNSEEN) | (b <= UNSEEN), apart, part.clamp(max=1).double())
            distance += torch.where(rows[:, m + len(there[0]), None] > 0, HARDLY * apart, apart)
        return there[distance.argmin(1)]

    @cached_property
    def pools(self) -> dict[int, tuple[Combinations, tuple[int, ...]]]:
        """Numbers that tell the pools of a column apart: by its place, the rule, and a number for each combination.

        A category that determines others does so as a pool of rare ones, too: the pool beside each of their values has
        a number of its own, from 1. 0 is the only pool, or none.
        """
        pools: dict[int, tuple[Combinations, tuple[int, ...]]] = {}
        for rule in self.rules:
            if isinstance(rule, Combinations):
                for m, numbers in _numbers_of_pools(rule.rows, [self.whole[i] for i in self._places[rule]]).items():
                    pools[self._places[rule][m]] = rule, numbers
        return pools

    def pool_numbers(self, x: Tensor) -> dict[int, Tensor]:
        """The number of the pool in each row ``(B,)`` of columns, by their places, with several. 0 without one."""
        numbers = {}
        for i, (rule, of_rows) in self.pools.items():
            number = self._number(x[:, list(self._places[rule])], rule)
            numbers[i] = torch.where(number == UNSEEN, 0, torch.tensor(of_rows, device=x.device)[number.clamp(min=0)])
        return numbers

    def _distance(self, x: Tensor, rule: AtLeast) -> Tensor:
        """``b`` less its floor. A negative one is UNSEEN, and a gap stays one."""
        b = x[:, self._places[rule][0]]
        d = b - self._floor(x, rule)
        return torch.where(b <= UNSEEN, b, torch.where(d < 0, UNSEEN, d))

    def _floor(self, x: Tensor, rule: AtLeast) -> Tensor:
        """The largest base of each row on the grid of the column, or the least value where none is known, ``(B,)``."""
        i, *bases = self._places[rule]
        floor = torch.full_like(x[:, i], MISSING)
        for j in bases:
            scaled = torch.ceil(self._scaled(j, i, 1.0) * x[:, j].double() - FINE).long()
            floor = torch.where(x[:, j] <= UNSEEN, floor, torch.maximum(floor, scaled))
        return torch.where(floor == MISSING, self._least(rule), floor)

    def _least(self, rule: AtLeast) -> int:
        """The code from which distances count where no base is known."""
        column = self.whole[self._places[rule][0]]
        assert isinstance(column, Graded)
        return column.low if rule.least is None else rule.least

    def _total(self, x: Tensor, rule: Total) -> Tensor:
        """The sum of each row, ``(B,)``, or a gap."""
        i, *parts = self._places[rule]
        total = torch.zeros(len(x), dtype=torch.float64, device=x.device)
        for j, sign in zip(parts, rule.signs, strict=True):
            total += sign * self._scaled(j, i, 1.0) * x[:, j].double()
        return torch.where((x[:, parts] <= UNSEEN).any(1), MISSING, total.round().long())

    def _rows(self, rule: Combinations, device: torch.device) -> Tensor:
        return torch.tensor(rule.rows, dtype=torch.int64, device=device)

    def _number(self, x: Tensor, rule: Combinations) -> Tensor:
        """The number of the combination of each row, ``(B,)``. UNSEEN where there is none."""
        rows = self._rows(rule, x.device)
        number, key = torch.zeros(len(x), dtype=torch.int64, device=x.device), rows.new_zeros(len(rows))
        for m in range(rows.shape[1]):
            values, code = torch.unique(rows[:, m], return_inverse=True)
            keys, key = torch.unique(key * len(values) + code, return_inverse=True)
            at = torch.searchsorted(values, x[:, m].contiguous()).clamp(max=len(values) - 1)
            target = number * len(values) + at
            place = torch.searchsorted(keys, target).clamp(max=len(keys) - 1)
            fits = (values[at] == x[:, m]) & (keys[place] == target) & (number != UNSEEN)
            number = torch.where(fits, place, UNSEEN)
        order = key.argsort()
        return torch.where(number == UNSEEN, UNSEEN, order[number.clamp(min=0)])

    # --- conditions ---------------------------------------------------------------------------------------------------

    def condition(
        self, x: Tensor, observed: Sequence[int], restrictions: Mapping[int, Tensor]
    ) -> tuple[Tensor, Tensor, dict[int, Tensor], bool, tuple[int, ...]]:
        """A condition on rows with the same observed values as one on free rows.

        Args:
            x: rows ``(B, C)`` of which the columns ``observed`` hold values, the same in each row as far as they belong
                to combinations, and with the same gaps.
            observed: places of columns.
            restrictions: codes that the values of other columns are among.

        Returns:
            free rows, which of their columns are observed ``(F,)``, the codes that others are among, and whether this
            says all. If not, rows that contradict the condition have to be drawn again. Or, where it says all but that
            some distances follow from an observed value and a base that is drawn, the places of these distances.
        """
        x, places, complete, distances, rest = *self._solved(x, set(observed)), True, list[int](), True
        y, mask = self.reduce(x), torch.zeros(len(self.sources), dtype=torch.bool)
        among: dict[int, Tensor] = {}
        for j, source in enumerate(self.sources):
            if isinstance(source, int):
                mask[j] = source in places
                if source in restrictions:
                    among[j] = restrictions[source]
            elif isinstance(source, AtLeast):
                i, *bases = self._places[source]
                mask[j] = places.issuperset([i, *bases])
                follows = i in places and not mask[j]
                distances += [j] * follows
                complete &= i not in restrictions and not follows
                rest &= i not in restrictions
            elif isinstance(source, Combinations):
                fits = self._fitting(x, source, places, restrictions)
                mask[j] = int(fits.sum()) == 1 and bool(places & set(self._places[source]))
                y[:, j] = int(fits.int().argmax())
                if not mask[j] and not bool(fits.all()):
                    among[j] = fits.nonzero().flatten()
        for i, rule in self._derived.items():
            if isinstance(rule, Total):
                gap = i in places and any(bool(x[0, j] == MISSING) for j in places.intersection(self._places[rule][1:]))
                holds = i not in restrictions and (i not in places or gap or places.issuperset(self._places[rule]))
                complete, rest = complete and holds, rest and holds
        return y, mask, among, complete, tuple(distances) if rest else ()

    def _solved(self, x: Tensor, places: set[int]) -> tuple[Tensor, set[int]]:
        """Rows with the part of a total that follows from all others of its rule, and what is then observed."""
        x, places = x.clone(), set(places)
        for i, rule in self._derived.items():
            missing = [j for j in self._places[rule] if j not in places]
            if isinstance(rule, Total) and len(missing) == 1 and missing[0] in self.sources and x[0, i] != MISSING:
                j = missing[0]
                x[:, j] = 0
                rest = (x[:, i] - self._total(x, rule)) * rule.signs[rule.parts.index(self.whole[j].name)]
                x[:, j] = (rest / self._scaled(j, i, 1.0)).round().long()
                places.add(j)
        return x, places

    def event(self, i: int, values: Tensor) -> tuple[int, Tensor] | None:
        """The free column and its codes for which column ``i`` has one of some values. ``None`` if there is none."""
        source: int | TableRule = self._members.get(i) or self._derived.get(i) or i
        if isinstance(source, Combinations):
            member = self._rows(source, values.device)[:, self._places[source].index(i)]
            return self.sources.index(source), torch.isin(member, values).nonzero().flatten()
        if isinstance(source, int) or (isinstance(source, AtLeast) and values.tolist() == [MISSING]):
            return self.sources.index(source), values
        return None

    def _fitting(self, x: Tensor, rule: Combinations, places: set[int], restrictions: Mapping[int, Tensor]) -> Tensor:
        """Which combinations fit the values of the first row and the restrictions, bool ``(K,)``."""
        rows = self._rows(rule, torch.device("cpu"))
        fits = torch.ones(len(rows), dtype=torch.bool)
        for m, i in enumerate(self._places[rule]):
            if i in places:
                fits &= rows[:, m] == x[0, i].cpu()
            elif i in restrictions:
                fits &= torch.isin(rows[:, m], restrictions[i].cpu())
        return fits

    @property
    def combined(self) -> list[int]:
        """The places of columns that belong to combinations."""
        return sorted(self._members)


def _numbers_of_pools(rows: Sequence[tuple[int, ...]], columns: Sequence[Modelled]) -> dict[int, tuple[int, ...]]:
    """See :attr:`FreeRows.pools`: by the place of a column with several pools, their numbers in each combination."""
    named = [[(code, 0) for code in codes] for codes in zip(*rows, strict=True)]  # categories with numbers of pools
    result = {}
    for m in sorted(range(len(columns)), key=lambda m: len({*named[m]})):
        column = columns[m]
        if not isinstance(column, Categorical) or column.other != POOL:  # a word of the data is no pool
            continue
        pool = column.categories.index(column.other)
        listed = [k for k, row in enumerate(rows) if row[m] != pool]
        values = {rows[k][m] for k in listed}
        determined = [
            q
            for q in range(len(columns))
            if q != m and values and len({(rows[k][m], named[q][k]) for k in listed}) == len(values)
        ]
        partners = [tuple(named[q][k] for q in determined) if row[m] == pool else None for k, row in enumerate(rows)]
        number = {partner: i for i, partner in enumerate(dict.fromkeys(p for p in partners if p is not None), 1)}
        if len(number) > 1:
            result[m] = tuple(0 if partner is None else number[partner] for partner in partners)
            named[m] = list(zip((code for code, _ in named[m]), result[m], strict=True))
    return result
