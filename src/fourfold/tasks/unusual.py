"""The columns that make a row unusual, by the conditional distribution of each given all others."""

from __future__ import annotations

import torch
from torch import Tensor

from fourfold.core import GenerativeModel
from fourfold.spaces import Table
from fourfold.tasks.completing import log_prob_given

__all__ = ["MOST", "unusual_columns"]

MOST = 1000
"""Rows of the lowest likelihood that are explained, at most."""
TYPICAL = 200
"""Rows from which the median of a column is estimated."""
NATS = 3.0
"""Nats below the median of its column from which a value is unusual."""


def unusual_columns(model: GenerativeModel, x: Tensor, nats: Tensor, most: int = MOST) -> dict[int, str] | None:
    """For the least likely rows, the columns whose values the others make improbable, worst first.

    A value is unusual by ``median log p(x_i | x_others) - log p(x_i | x_others)``, with the median over rows drawn
    evenly from all: so a column of many values is not unusual everywhere.

    Args:
        model: of a table, with arbitrary conditionals.
        x: rows ``(B, C)``.
        nats: their log-probabilities.
        most: number of rows that are explained.

    Returns:
        The columns, with the nats that each lies below its median, by the number of the row. Rows with a value that is
        not in the training data name these columns alone, as ``new``. A model without arbitrary conditionals names only
        these, and columns whose value is beyond the range of the training data. ``None`` if there are none.
    """
    space = model.space
    if not isinstance(space, Table):  # only a row of a table has columns to be blamed
        return None
    new, below = _columns_of(space, space.foreign(x), "new"), _below(model, x, nats, most)
    if below is None:
        return _columns_of(space, space.beyond(x), "beyond") | new or None
    return {row: _words(space, part) for row, part in below.items()} | new


def _columns_of(space: Table, cells: Tensor, word: str) -> dict[int, str]:
    """The columns of some cells, by the number of the row."""
    rows = cells.any(1).nonzero().flatten().tolist()
    return {row: ", ".join(f"{space.columns[i]} ({word})" for i in cells[row].nonzero().flatten()) for row in rows}


def _below(model: GenerativeModel, x: Tensor, nats: Tensor, most: int) -> dict[int, Tensor] | None:
    """Nats that each column of the least likely rows lies below its median, by the number of the row."""
    worst = nats.argsort()[:most]
    typical = torch.linspace(0, len(x) - 1, min(TYPICAL, len(x))).long()
    rows, columns = torch.cat([worst, typical]), x.shape[1]
    log_p = torch.empty(len(rows), columns)
    try:
        for place in range(columns):
            log_p[:, place] = log_prob_given(model, x[rows], torch.arange(columns) != place).nats
    except TypeError:
        return None
    excess = log_p[len(worst) :].nanmedian(0).values - log_p[: len(worst)]
    return dict(zip(worst.tolist(), excess, strict=True))


def _words(space: Table, below: Tensor) -> str:
    order = [i for i in below.argsort(descending=True).tolist() if below[i] > NATS][:3]
    return ", ".join(f"{space.columns[i]} ({below[i]:.1f})" for i in order)
