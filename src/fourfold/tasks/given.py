"""Samples of a table with given values, equal shares of a column's categories, or requirements."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor

from fourfold.core import Condition, GenerativeModel, Space
from fourfold.machine.libraries import pandas as pd
from fourfold.output.printable import one_of, shortened
from fourfold.spaces import Table
from fourfold.spaces.columns import MISSING, UNREADABLE, UNSEEN, Categorical, DateTime, Graded, Modelled
from fourfold.tasks.completing import approximate_note, completions
from fourfold.tasks.rejection import Round, Tally, accept
from fourfold.tasks.requirement import Requirement

__all__ = [
    "AcceptedSamples",
    "Given",
    "allowed_codes",
    "code_of",
    "column_at",
    "parse_given",
    "requirements",
    "sample_given",
]

Given: TypeAlias = Mapping[str, Any]
"""For each column a value, a tuple of the two ends of a range (``None`` is open), or a list of values or ranges."""
TRIES = 50
"""Draws of a row until it fulfils the requirements, on average and at most."""
LEAST = 10_000
"""Draws before the requirements are given up, at least."""
DAY = 86_400
"""Seconds of a day."""
BATCH = 1 << 16
"""Rows in one round of draws, at most."""


@dataclass(frozen=True)
class AcceptedSamples:
    """Samples that fulfil requirements.

    Attributes:
        x: raw examples ``(n, *shape)``.
        tally: counts of draws, and of those that fulfil the requirements.
        requirements: the conditions that every sample fulfils.
        approximate: number of approximate samples, see :func:`fourfold.tasks.complete`.
    """

    x: Tensor
    tally: Tally
    requirements: tuple[Requirement, ...] = ()
    approximate: int = 0

    def remarks(self) -> list[str]:
        """The acceptance rate, if there are requirements, and the number of approximate samples, one line each."""
        rate = [self.tally.words(_words(self.requirements))] if self.requirements else []
        return [*rate, *([approximate_note(self.approximate, len(self.x))] if self.approximate else [])]


def _words(requirements: Sequence[Requirement]) -> str:
    return " and ".join(map(str, requirements))


def parse_given(texts: Sequence[str], space: Table) -> dict[str, list[Any]]:
    """Conditions from texts such as ``column=value`` and ``column=low..high``. Several of a column are alternatives.

    Raises:
        ValueError: for a text without ``=``, or a column that the model does not know.
    """
    conditions: dict[str, list[Any]] = {}
    for text in texts:
        names = [name for name in space.columns if text.startswith(f"{name}=")]
        if not names:
            name = text.partition("=")[0]
            if "=" not in text:
                raise ValueError(f"--given must be column=value or column=low..high, got {text!r}")
            column_at(space, name)
        name = max(names, key=len)
        value = text[len(name) + 1 :]
        low, dots, high = value.partition("..")
        graded = isinstance(space.modelled[space.columns.index(name)], Graded)
        if graded and (bound := re.match(r"([<>])=?\s*(.+)", value)):
            way = f"{bound[2]}.." if bound[1] == ">" else f"..{bound[2]}"
            raise ValueError(f"--given must be {name}=low..high for a range, got {text!r}: give {name}={way}")
        conditions.setdefault(name, []).append((low or None, high or None) if dots and graded else value)
    return conditions


def column_at(space: Table, name: str) -> int:
    """The index of a column among those that a model has.

    Raises:
        ValueError: for an unknown name, with the nearest one.
    """
    if name in space.columns:
        return space.columns.index(name)
    names = [column.name for column in space.schema]
    if name in names:
        raise ValueError(f"column must be modelled, got {name!r}, a constant or an identifier: name another")
    raise ValueError(f"column must be {one_of(name, space.columns)}")


def allowed_codes(column: Modelled, condition: Any) -> Tensor:
    """The codes of a column that a value, a range or a list of both allows.

    Raises:
        ValueError: for a value that the column cannot have, with the values that it can have.
    """
    if isinstance(condition, list):
        return torch.unique(torch.cat([allowed_codes(column, part) for part in condition]))
    if isinstance(column, DateTime) and isinstance(condition, str) and _end_of_day(column, condition) is not None:
        condition = (condition, condition)
    if not isinstance(condition, tuple):
        return torch.tensor([code_of(column, condition)])
    if not isinstance(column, Graded):
        raise ValueError(
            f"column {column.name} must be given categories, got a range: give {shortened(_categories(column))}"
        )
    low, high = column.span
    first = low if condition[0] is None else max(code_of(column, condition[0], math.ceil), low)
    last = high if condition[1] is None else min(code_of(column, condition[1], math.floor), high)
    if first > last:
        ends = column.text(np.array(column.span, dtype=np.int64))
        interval = "..".join("" if end is None else str(end) for end in condition)
        raise ValueError(
            f"column {column.name} must be from {ends.iloc[0]} to {ends.iloc[1]}, got {interval}: give a range inside"
        )
    return torch.arange(first, last + 1)


def code_of(column: Modelled, value: Any, rounding: Callable[[float], int] | None = None) -> int:
    """The code of a value of a column. The end of a range is rounded inwards.

    Raises:
        ValueError: for a value that the column cannot have, with those that it can have.
    """
    gap = value is None or value is pd.NA or (isinstance(value, float) and math.isnan(value))
    if gap or (isinstance(value, str) and value.strip() in column.gaps):
        if not column.missing:
            raise ValueError(f"column {column.name} must have a value, since it is never missing, got none: give one")
        return MISSING
    if rounding is not None and hasattr(column, "decimals") and _is_number(value):
        place = float(column.places(np.array([float(value)]))[0])  # type: ignore[attr-defined]
        return rounding(round(place, 6)) if math.isfinite(place) else column.limits[0]  # type: ignore[attr-defined]
    if isinstance(column, Categorical):  # a value is asked for by its name, never by that of a pool
        column = replace(column, other=None, nearest=False)
    code = int(column.read(pd.Series([value]))[0])
    if code == UNREADABLE and rounding is not None and isinstance(column, DateTime):
        moment = _end_of_day(column, value) if rounding is math.floor else pd.to_datetime(value, errors="coerce")
        if moment is not None and moment is not pd.NaT:
            code = int(column.read(pd.Series([moment]))[0])
    if code == UNREADABLE:
        raise ValueError(f"column {column.name} must be {column.description}, got {str(value)[:40]!r}")
    if code == UNSEEN:
        raise ValueError(f"column {column.name} must be {one_of(value, _categories(column))}")
    return code


def _end_of_day(column: DateTime, day: Any) -> pd.Timestamp | None:
    """The last moment of a day such as 2015-02-05, if a column is finer than days. ``None`` for anything else."""
    if not isinstance(day, str) or not re.fullmatch(r"\d{4}-\d{2}-\d{2}", day.strip()) or column.resolution >= DAY:
        return None
    start = pd.to_datetime(day, errors="coerce")
    end = start + pd.Timedelta(seconds=DAY - column.resolution)
    return end if isinstance(end, pd.Timestamp) else None


def _is_number(value: Any) -> bool:
    try:
        return math.isfinite(float(value))
    except (TypeError, ValueError, OverflowError):
        return False


def _categories(column: Modelled) -> Sequence[str]:
    return column.categories if isinstance(column, Categorical) else ()


def requirements(
    texts: str | Sequence[str], space: Space, train: Callable[[], Tensor] | None = None
) -> list[Requirement]:
    """The requirements that texts describe, such as ``"a <= b"``: see :class:`~fourfold.tasks.Requirement`.

    Args:
        texts: one or several.
        space: of the rows. Its columns have names.
        train: the training rows, for ``seen``.

    Raises:
        ValueError: for a text that is not a requirement, or a column that is not there.
    """
    return [Requirement(text, space, train) for text in ([texts] if isinstance(texts, str) else texts)]


def sample_given(
    model: GenerativeModel,
    n: int,
    cond: Condition = None,
    seed: int = 0,
    batch_size: int | None = None,
    *,
    given: Given | None = None,
    balance: str | None = None,
    requirements: Sequence[Requirement] = (),
) -> AcceptedSamples:
    """Draw samples with given values, with equal shares of the categories of a column, and that fulfil requirements.

    Given values and shares are conditions, ``p(. | given)``: see :func:`fourfold.tasks.complete`. Rows
    that fail a requirement are drawn again (rejection), so that those returned are of ``p(. | given, requirements)``.

    Args:
        model: of a table. Requirements alone suit every model of columns with names.
        n: number of samples.
        cond: their condition: one for all, or one for each.
        seed: of the draws.
        batch_size: rows per network call. ``None``: the model's default.
        given: values of columns.
        balance: a categorical column, each of whose categories gets the same share.
        requirements: conditions that every row fulfils.

    Raises:
        ValueError: for n < 1, a column or a value that the model does not have, or if too few draws fulfil the
            requirements.
        TypeError: for given values where the space is not a table, or for a model that cannot be conditioned.
    """
    if n < 1:
        raise ValueError(f"n must be at least 1, got {n}")
    draw = _drawing(model, n, model.space.encode_condition(cond, n), seed, batch_size, given or {}, balance)
    x, approximate, tally = torch.empty(0), torch.zeros(n, dtype=torch.bool), Tally()

    def propose(pending: Tensor, tally: Tally) -> Round[tuple[Tensor, Tensor]]:
        rate = max(tally.accepted / tally.proposals, 1 / TRIES) if tally.rounds else 1.2  # one draw for a row at first
        numbers = pending.repeat_interleave(max(1, min(math.ceil(1.2 / rate), BATCH // len(pending))))
        samples, approximate = draw(numbers, tally.rounds)
        fulfilled = np.ones(len(numbers), dtype=bool)
        for requirement in requirements:
            fulfilled &= requirement(samples)
        rows, first = np.unique(numbers[fulfilled].numpy(), return_index=True)
        hits = torch.from_numpy(fulfilled.nonzero()[0][first])
        return Round(torch.from_numpy(rows), (samples[hits], approximate[hits]), len(numbers), int(fulfilled.sum()))

    limit = max(TRIES * n, LEAST)
    for proposed, tally in accept(torch.arange(n), propose, limit, _words(requirements)):  # noqa: B007
        samples, flags = proposed.content
        x = x if len(x) else samples.new_empty(n, *samples.shape[1:])
        x[proposed.rows], approximate[proposed.rows] = samples, flags
    return AcceptedSamples(x, tally, tuple(requirements), int(approximate.sum()))


def _drawing(
    model: GenerativeModel,
    n: int,
    cond: Tensor | None,
    seed: int,
    batch_size: int | None,
    conditions: Given,
    balance: str | None,
) -> Callable[[Tensor, int], tuple[Tensor, Tensor]]:
    """A function that draws rows, and tells which are approximate, by their numbers and the number of the round.

    The condition of a row is the same in every round.
    """
    if not conditions and balance is None:

        def sample(rows: Tensor, number: int) -> tuple[Tensor, Tensor]:
            conditions_of_rows = None if cond is None else cond[rows]
            samples = model.sample(len(rows), conditions_of_rows, seed + (number << 20), batch_size).cpu()
            return samples, torch.zeros(len(rows), dtype=torch.bool)

        return sample
    space = model.space
    if not isinstance(space, Table):  # only the columns of a table have names and values
        raise TypeError(f"the model must be of a table to be given values, got one of {space}: train on a table")
    x = torch.zeros(n, len(space.modelled), dtype=torch.int64)
    observed = torch.zeros(len(space.modelled), dtype=torch.bool)
    restrictions = {}
    for name, value in conditions.items():
        place = column_at(space, name)
        codes = allowed_codes(space.modelled[place], value)
        x[:, place], observed[place] = codes[0], len(codes) == 1
        if len(codes) > 1:
            restrictions[place] = codes
    if balance is not None:
        place = column_at(space, balance)
        column = space.modelled[place]
        if not isinstance(column, Categorical):
            raise ValueError(
                f"balance must be a categorical column, got {balance}, which holds quantities: give a range"
            )
        categories = restrictions.pop(place, torch.arange(len(column.categories)))
        x[:, place], observed[place] = categories[torch.arange(n) % len(categories)], True

    def draw(rows: Tensor, number: int) -> tuple[Tensor, Tensor]:
        samples, approximate = x[rows], torch.zeros(len(rows), dtype=torch.bool)
        mask, at_once = observed.expand(len(rows), -1), max(batch_size or 0, 1024)
        conditions_of_rows = None if cond is None else cond[rows]
        for part in completions(model, x[rows], mask, restrictions, conditions_of_rows, seed + (number << 20), at_once):
            samples[part.rows], approximate[part.rows] = part.x.cpu(), part.approximate
        return samples, approximate

    return draw
