"""Completion by a model that can only sample: draw whole examples, and keep those that agree with the given values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from fourfold.core.completion import ABLE

if TYPE_CHECKING:
    from fourfold.core.model import GenerativeModel

__all__ = ["reject"]

DRAWS = 1000
"""How many samples are drawn for each row that is to be found, at most."""
LEAST = 100_000
"""Before the search gives up, it draws at least so many samples."""
DISTINCT = 64
"""How many different sets of given values are searched for at once."""


def reject(
    model: GenerativeModel, x: Tensor, known: Tensor, allowed: Mapping[int, Tensor], cond: Tensor | None, seed: int
) -> Tensor:
    """Complete raw rows ``(B, L)`` by a model that only samples: keep whole samples that agree with the known values.

    Raises:
        ValueError: if too few are found, with how many there were, and the models that need no search; for several
            labels.
    """
    if cond is not None and bool((cond != cond[0]).any()):
        raise ValueError(
            f"this {model.paradigm} model draws whole samples, of one label at a time: give one for all rows"
        )
    given = torch.cat([torch.where(known, x, 0), known.long()], 1).cpu()
    distinct, group = torch.unique(given, dim=0, return_inverse=True)
    conditions, masks = distinct.chunk(2, 1)
    if len(conditions) > DISTINCT:
        raise ValueError(
            f"{len(conditions)} different sets of given values are too many to find by drawing whole samples, which "
            f"is all that this {model.paradigm} model can do; a model of arbitrary conditionals can: {ABLE}"
        )
    out, left = torch.where(known, x, 0), [(group == g).nonzero().squeeze(1) for g in range(len(conditions))]
    drawn = 0
    while any(map(len, left)):
        if drawn >= max(LEAST, DRAWS * len(x)):
            found = len(x) - sum(map(len, left))
            raise ValueError(
                f"only {found} of {len(x)} rows were found among {drawn:,} samples of this {model.paradigm} model, "
                f"which can only draw whole rows: ask for less, or use a model of arbitrary conditionals ({ABLE})"
            )
        samples = model.sample(1024, cond=None if cond is None else int(cond[0]), seed=seed, start=drawn)
        drawn += len(samples)
        fits = torch.ones(len(samples), dtype=torch.bool)
        for i, cells in allowed.items():
            fits &= torch.isin(samples[:, i].cpu(), cells.cpu())
        for g, rows in enumerate(left):
            same = ((samples.cpu() == conditions[g]) | (masks[g] == 0)).all(1)
            hits = (fits & same).nonzero().squeeze(1)[: len(rows)]
            out[rows[: len(hits)]] = samples[hits].to(out.device)
            left[g] = rows[len(hits) :]
    return out
