"""Completion by a model that can only sample: draw whole examples, and keep those that agree with the given values."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor

from fourfold.core import GenerativeModel

__all__ = ["ABLE", "TooFewError", "search"]

ABLE = "autoregressive, diffusion/masked"
"""The recipes whose models have arbitrary conditionals."""

DRAWS = 1000
"""How many samples are drawn for each row that is to be found, at most."""
LEAST = 100_000
"""Before the search gives up, it draws at least so many samples."""
DISTINCT = 64
"""How many different sets of given values are searched for at once."""


class TooFewError(ValueError):
    """Whole samples that agree with given values are too rare."""


def search(
    model: GenerativeModel, x: Tensor, known: Tensor, allowed: Mapping[int, Tensor], cond: Tensor | None, seed: int
) -> Iterator[tuple[Tensor, Tensor]]:
    """Complete raw rows ``(B, L)`` by a model that only samples: keep whole samples that agree with the known values.

    Yields:
        The numbers of the rows that some samples complete, and these samples; there may be none.

    Raises:
        TooFewError: if too few are found, with how many there were, and the models that need no search.
        ValueError: for several labels, or too many different sets of given values.
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
            f"is all that this {model.paradigm} model can do: use a model of arbitrary conditionals ({ABLE})"
        )
    waiting = [(group == g).nonzero().squeeze(1) for g in range(len(conditions))]
    drawn = 0
    while any(map(len, waiting)):
        if drawn >= max(LEAST, DRAWS * len(x)):
            raise TooFewError(
                f"only {len(x) - sum(map(len, waiting))} of {len(x)} rows were found among {drawn:,} samples of this "
                f"{model.paradigm} model, which can only draw whole rows: ask for less, or use a model of arbitrary "
                f"conditionals ({ABLE})"
            )
        samples = model.sample(1024, cond=None if cond is None else int(cond[0]), seed=seed, start=drawn).cpu()
        drawn += len(samples)
        fits = torch.ones(len(samples), dtype=torch.bool)
        for i, cells in allowed.items():
            fits &= torch.isin(samples[:, i], cells.cpu())
        agree = [fits & ((samples == row) | (mask == 0)).all(1) for row, mask in zip(conditions, masks, strict=True)]
        hits = [some.nonzero().squeeze(1)[: len(rows)] for some, rows in zip(agree, waiting, strict=True)]
        yield (
            torch.cat([rows[: len(some)] for rows, some in zip(waiting, hits, strict=True)]),
            samples[torch.cat(hits)],
        )
        waiting = [rows[len(some) :] for rows, some in zip(waiting, hits, strict=True)]
