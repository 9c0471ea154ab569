"""The columns that make a row unusual, by what a model expects of each given all others."""

from __future__ import annotations

import torch
from torch import Tensor

from fourfold.core import GenerativeModel
from fourfold.spaces import Table

__all__ = ["MOST", "unusual_columns"]

MOST = 1000
"""Rows that are explained, at most: those of the lowest likelihood."""
TYPICAL = 200
"""Rows that tell how well a column is usually expected."""
NATS = 3.0
"""From so many nats below the median of its column on, a value is unusual."""


def unusual_columns(model: GenerativeModel, x: Tensor, nats: Tensor, most: int = MOST) -> dict[int, str] | None:
    """For the least likely rows, the columns whose values the others make improbable, worst first.

    A value is unusual by ``median log p(x_i | x_others) - log p(x_i | x_others)``, with the median over rows drawn
    evenly from all: so a column of many cells is not unusual everywhere.

    Args:
        model: of a table; it tells ``p(x_i | x_others)`` exactly, or there is no answer.
        x: rows ``(B, C)``.
        nats: their log-probabilities.
        most: how many rows are explained.

    Returns:
        The columns, with the nats that each lies below its median, by the number of the row; ``None`` of a model that
        cannot tell.
    """
    space = model.space
    if not isinstance(space, Table):  # only a row of a table has columns to be blamed
        return None
    worst = nats.argsort()[:most]
    typical = torch.linspace(0, len(x) - 1, min(TYPICAL, len(x))).long()
    rows = torch.cat([worst, typical])
    found = torch.empty(len(rows), len(space.modelled))
    try:
        for place in range(len(space.modelled)):
            known = torch.ones(len(space.modelled), dtype=torch.bool)
            known[place] = False
            found[:, place] = model.log_prob_given(x[rows], known).nats
    except TypeError:
        return None
    excess = found[len(worst) :].nanmedian(0).values - found[: len(worst)]
    return {row: _told(space, below) for row, below in zip(worst.tolist(), excess, strict=True)}


def _told(space: Table, below: Tensor) -> str:
    order = [i for i in below.argsort(descending=True).tolist() if below[i] > NATS][:3]
    return ", ".join(f"{space.columns[i]} ({below[i]:.1f})" for i in order)
