"""Imputation: draws of the gaps of a table given the rest of their rows."""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, TypeAlias, final

import torch
from torch import Tensor

from fourfold.core import ArbitraryConditionals, GenerativeModel, Noise
from fourfold.data import Data, read_all
from fourfold.data.builtin import FILES
from fourfold.data.packed import is_delimited
from fourfold.data.tables import line_of, raw_frame
from fourfold.machine.libraries import pandas as pd
from fourfold.spaces import Table
from fourfold.spaces.columns import MISSING, UNSEEN, Modelled
from fourfold.spaces.rules import Combinations
from fourfold.tasks.completing import approximate_note, completions, weighted_probabilities
from fourfold.tasks.given import column_at
from fourfold.tasks.rejection import ABLE, TooFewError

__all__ = ["PATIENCE", "Imputed", "Skipped", "impute"]

PATIENCE = 300.0
"""Seconds for filling a table, by default."""
BLOCK = 256
"""Rows in a block."""
EVERY = 5.0
"""Seconds between two lines of progress."""
VOTES = 9
"""Whole samples that decide whether a gap stays, for a model without arbitrary conditionals."""
OVER = "the time of {:g} s was over: give it more patience"
_Row: TypeAlias = tuple[int, Tensor, bool]
"""The number of a row, its values, and true if they are approximate."""


class _Table(NamedTuple):
    """Rows with their gaps filled.

    Attributes:
        x: the rows ``(B, C)``.
        reasons: why some of them are not filled, by their numbers.
        approximate: how many are approximate, see :func:`fourfold.tasks.complete`.
    """

    x: Tensor
    reasons: dict[int, str]
    approximate: int


@dataclass(frozen=True)
class Skipped:
    """A row whose gaps could not be filled.

    Attributes:
        row: its number in the table, from 0.
        where: the file, row and line, as in ``holes.csv, row 2 (line 3)``.
        reason: why, in a clause.
    """

    row: int
    where: str
    reason: str


@dataclass(frozen=True)
class Imputed:
    """A table whose gaps are filled.

    Attributes:
        table: the data frame with its gaps filled. Its values are texts where it was a file of text.
        filled: how many gaps were filled, by column.
        header: whether the file names its columns in its first row.
        notes: changes that reading made, and how many rows are approximate, see :func:`fourfold.tasks.complete`.
        empty: how many gaps stay because the model expects them, by column.
        skipped: rows that could not be filled, in the order of the table.
    """

    table: pd.DataFrame
    filled: dict[str, int]
    header: bool = True
    notes: tuple[str, ...] = ()
    empty: dict[str, int] = field(default_factory=dict)
    skipped: tuple[Skipped, ...] = ()

    def remarks(self, most: int = 5) -> list[str]:
        """The filled gaps, the gaps that stay and the skipped rows, one line each."""
        by_column = ", ".join(f"{name} {count:,}" for name, count in self.filled.items())
        lines = [f"{sum(self.filled.values()):,} gaps filled{f': {by_column}' if by_column else ''}"]
        for name, count in self.empty.items():
            cells, pronoun = ("1 cell", "it") if count == 1 else (f"{count:,} cells", "them")
            lines.append(f"{cells} of {name} left empty: the model expects {pronoun} to be")
        lines += [f"skipped {row.where}: {row.reason}" for row in self.skipped[:most]]
        if len(self.skipped) > most:
            lines.append(f"skipped {len(self.skipped) - most:,} more rows")
        return lines


def impute(
    model: GenerativeModel,
    data: Data,
    seed: int = 0,
    batch_size: int = BLOCK,
    *,
    columns: Sequence[str] | None = None,
    patience: float = PATIENCE,
    say: Callable[[str], None] | None = None,
) -> Imputed:
    """Fill the gaps of a table, each by one draw from ``p(gaps | rest, not missing)``. All other values stay.

    A gap stays if the model expects it: if ``p(missing | rest) > 1/2``, where the rest is the values of the row. Gaps
    are draws, not means, so that the filled table has the distributions and correlations of the data. Several seeds
    give several tables (multiple imputation).

    Args:
        model: of a table.
        data: a file, a built-in table or a data frame, with the columns of the model.
        seed: of the draws.
        batch_size: rows in a block.
        columns: fill only the gaps of these. All others stay, and count as missing values of their rows.
        patience: seconds after which no further block of rows is filled. The rest of the rows is skipped.
        say: gets a line of progress every five seconds.

    Raises:
        DataError: if the data cannot be read in the model's space.
        TypeError: for a model that is of no table.
        ValueError: for a column that the model does not have, or if no row can be filled.
    """
    space = model.space
    if not isinstance(space, Table):  # only a table has gaps between its columns
        raise TypeError(f"the model must be of a table to fill gaps, got one of {space}: train on a table")
    if patience <= 0:
        raise ValueError(f"patience must be above 0 seconds, got {patience}")
    if isinstance(data, str) and not Path(data).exists():
        data = FILES.get(data, data)
    names = [columns] if isinstance(columns, str) else columns or space.columns
    places = sorted({column_at(space, name) for name in names})
    gaps = tuple(
        dataclasses.replace(column, missing=True) if isinstance(column, Modelled) else column for column in space.schema
    )
    split, notes = read_all(data, dataclasses.replace(space, schema=gaps))
    x, gaps_of_rows = split.x.clone(), _Gaps.of(space, split.x, places)
    rows = gaps_of_rows.holes.any(1).nonzero().squeeze(1)
    clock = _Clock(len(rows), patience, say)
    x[rows], reasons, approximate = _fill(model, space, gaps_of_rows[rows], seed, batch_size, clock)
    if len(rows) and len(reasons) == len(rows):
        raise ValueError(
            f"none of {len(rows):,} rows with gaps could be filled: {_row_name(data, int(rows[0]))}: {reasons[0]}"
        )
    complete = torch.ones(len(x), dtype=torch.bool)
    complete[rows[list(reasons)]] = False
    table, header, counts = _fill_frame(data, space, x, gaps_of_rows.holes & (x != MISSING))
    empty = gaps_of_rows.holes & (x == MISSING) & complete[:, None]
    skipped = tuple(Skipped(int(rows[i]), _row_name(data, int(rows[i])), reason) for i, reason in reasons.items())
    if approximate:
        notes = (*notes, approximate_note(approximate, len(rows)))
    return Imputed(table, counts, header, notes, _counts(space, empty), skipped)


def _counts(space: Table, cells: Tensor) -> dict[str, int]:
    """The number of cells of each column that has some."""
    return {name: int(count) for name, count in zip(space.columns, cells.sum(0), strict=True) if count}


def _fill_frame(data: Data, space: Table, x: Tensor, mask: Tensor) -> tuple[pd.DataFrame, bool, dict[str, int]]:
    """The table with its filled cells, true if it has a header, and the number of filled cells by column."""
    table, header = raw_frame(data)
    as_text = isinstance(data, (str, Path)) and is_delimited(Path(data))
    whole = torch.tensor([column.span[0] for column in space.modelled])
    x = torch.where(mask | (x != MISSING), x, whole)  # gaps that stay are not written
    values = space.text(x) if as_text else space.table(x)
    for place, name in enumerate(space.columns):
        cells = mask[:, place].numpy()
        if cells.any():
            source = table.columns[_column_in_file(table, space, name)]
            table[source] = table[source].where(~cells, values[name].set_axis(table.index))
    return table, header, _counts(space, mask)


def _column_in_file(table: pd.DataFrame, space: Table, name: str) -> int:
    """The index of a column in a file: by name, or by its index in the schema where the file has no header."""
    names = [str(column) for column in table.columns]
    return names.index(name) if name in names else [column.name for column in space.schema].index(name)


def _row_name(data: Data, row: int) -> str:
    """The name of a row in messages. Rows are counted from 1 below the header, lines from 1."""
    if not isinstance(data, (str, Path)):
        return f"row {row + 1}"
    line = line_of(Path(data), row)
    return f"{data}, row {row + 1}" + ("" if line is None else f" (line {line})")


@final
class _Clock:
    """A clock that ends a filling in time, and prints its progress.

    Args:
        total: rows to fill.
        patience: seconds from now.
        say: gets a line of progress every five seconds.
    """

    def __init__(self, total: int, patience: float, say: Callable[[str], None] | None) -> None:
        self.total, self.patience, self.say = total, patience, say
        self.start = self.last = time.monotonic()

    def over(self, count: int) -> bool:
        """True if the time is over. A line of progress names the number of complete rows, ``count``."""
        now = time.monotonic()
        if self.say is not None and now - self.last >= EVERY:
            self.say(f"{count:,} of {self.total:,} rows with gaps, {now - self.start:.0f} s of {self.patience:g} s")
            self.last = now
        return now - self.start >= self.patience


@final
@dataclass(frozen=True, eq=False)
class _Gaps:
    """Rows and their gaps.

    Attributes:
        x: rows ``(B, C)``.
        holes: the cells to fill, bool ``(B, C)``.
        observed: the cells that are values of their rows, bool ``(B, C)``.
    """

    x: Tensor
    holes: Tensor
    observed: Tensor

    @classmethod
    def of(cls, space: Table, x: Tensor, places: Sequence[int]) -> _Gaps:
        """The gaps of some columns. Gaps of others count as values if the model has gaps in that column.

        They do not where no training row has a gap beside the other values of a rule. Nor do new values of a rule.
        """
        holes = torch.zeros_like(x, dtype=torch.bool)
        holes[:, places] = x[:, places] == MISSING
        optional = torch.tensor([column.missing for column in space.modelled])
        observed = ~holes & ((x != MISSING) | optional)
        for rule in (rule for rule in space.rules if isinstance(rule, Combinations)):
            at = [space.columns.index(name) for name in rule.columns]
            wrong = space.breaks(rule, x) & ~holes[:, at].any(1)
            observed[:, at] &= (~wrong[:, None] | (x[:, at] != MISSING)) & (x[:, at] != UNSEEN)
        return cls(x, holes, observed)

    def __getitem__(self, rows: Tensor) -> _Gaps:
        return _Gaps(self.x[rows], self.holes[rows], self.observed[rows])


def _fill(model: GenerativeModel, space: Table, gaps: _Gaps, seed: int, batch: int, clock: _Clock) -> _Table:
    """Fill rows in blocks until the time is over."""
    x, reasons = gaps.x.clone(), dict.fromkeys(range(len(gaps.x)), OVER.format(clock.patience))
    approximate = 0
    fill = _draw_block if isinstance(model.estimand, ArbitraryConditionals) else _search_block
    for low, high in Noise.spans(0, len(x), batch):
        if clock.over(low):
            break
        try:
            for row, values, inexact in fill(model, space, gaps[torch.arange(low, high)], seed, low, clock):
                x[low + row] = values
                approximate += inexact
                del reasons[low + row]
            reason = OVER.format(clock.patience)
        except ValueError as error:
            reason = str(error)
        reasons.update({row: reason for row in range(low, high) if row in reasons})
    return _Table(x, reasons, approximate)


def _draw_block(
    model: GenerativeModel, space: Table, gaps: _Gaps, seed: int, start: int, clock: _Clock
) -> Iterator[_Row]:
    """The rows of one block by a model of arbitrary conditionals: first the gaps that stay, then draws of the rest."""
    optional = [i for i, column in enumerate(space.modelled) if column.missing and bool(gaps.holes[:, i].any())]
    empty, approximate = torch.zeros_like(gaps.holes), torch.zeros(len(gaps.x), dtype=torch.bool)
    if optional:
        nothing = {i: torch.tensor([MISSING]) for i in optional}
        p, approximate = weighted_probabilities(model, gaps.x, gaps.observed, nothing, seed=seed, start=start)
        empty[:, optional] = gaps.holes[:, optional] & (p > 0.5)
    inside = {
        i: torch.arange(column.span[0], column.span[1] + 1)
        for i, column in enumerate(space.modelled)
        if bool((gaps.holes & ~empty)[:, i].any())
    }
    for rows, x, inexact in completions(model, gaps.x, gaps.observed | empty, inside, seed=seed, start=start):
        yield from zip(rows.tolist(), x, (inexact | approximate[rows]).tolist(), strict=True)


def _search_block(
    model: GenerativeModel, space: Table, gaps: _Gaps, seed: int, start: int, clock: _Clock
) -> Iterator[_Row]:
    """The rows of one block by a model that draws whole rows: those that agree are taken and decide which gaps stay."""
    agree: list[list[Tensor]] = [[] for _ in gaps.x]
    over = False
    x, observed = (part.repeat(VOTES, 1) for part in (gaps.x, gaps.observed))
    with contextlib.suppress(TooFewError):
        for completed in completions(model, x, observed, seed=seed):
            for row, sample in zip(completed.rows.tolist(), completed.x, strict=True):
                agree[row % len(agree)].append(sample)
            over = clock.over(start + sum(len(samples) == VOTES for samples in agree))
            if over:
                break
    for row, votes in enumerate(agree):
        if votes:
            samples, hole = torch.stack(votes), gaps.holes[row]
            empty = (samples == MISSING).double().mean(0) > 0.5
            alike = ((samples == MISSING) == empty)[:, hole].all(1)
            if alike.any():
                yield row, torch.where(hole, samples[alike][0], gaps.x[row]), False
    if not over:
        raise ValueError(
            f"model must draw samples that agree with these values, got none of this {model.paradigm} model, which "
            f"draws whole rows: use one of arbitrary conditionals ({ABLE})"
        )
