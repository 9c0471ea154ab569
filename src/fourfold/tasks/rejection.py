"""Rejection: rows get proposals until each has one that is accepted, within a limit."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Generic, NamedTuple, TypeVar

import torch
from torch import Tensor

from fourfold.core import GenerativeModel
from fourfold.core.conditions import numbered

__all__ = ["ABLE", "Round", "Tally", "TooFewError", "accept", "search"]

ABLE = "autoregressive, diffusion/masked"
"""The recipes whose models have arbitrary conditionals."""
DRAWS = 1000
"""Whole samples for each row, at most."""
LEAST = 100_000
"""Whole samples before the search gives up, at least."""
DISTINCT = 64
"""Different sets of observed values that are searched for together, at most."""
Content = TypeVar("Content")


class Round(NamedTuple, Generic[Content]):
    """One round of proposals.

    Attributes:
        rows: the numbers of the rows that need no further proposals, each once, ``(R,)``.
        content: the proposals, in the form that the caller uses.
        proposals: their number.
        accepted: the number of accepted ones. Several may be for one row.
    """

    rows: Tensor
    content: Content
    proposals: int
    accepted: int


@dataclass(frozen=True)
class Tally:
    """Counts of all rounds so far."""

    rounds: int = 0
    proposals: int = 0
    accepted: int = 0

    def words(self, conditions: str) -> str:
        """The acceptance rate, as in ``3 of 120 draws fulfil 'a <= b' (2.5 %)``."""
        percent = 100 * self.accepted / max(self.proposals, 1)
        return f"{self.accepted:,} of {self.proposals:,} draws fulfil {conditions} ({percent:.3g} %)"


class TooFewError(ValueError):
    """The limit of proposals was reached before every row had one that is accepted.

    Attributes:
        rows: the numbers of the rows that have none, ``(R,)``.
    """

    def __init__(self, rows: Tensor, message: str) -> None:
        super().__init__(message)
        self.rows = rows


def accept(
    rows: Tensor, propose: Callable[[Tensor, Tally], Round[Content]], limit: int, conditions: str, way: str = ""
) -> Iterator[tuple[Round[Content], Tally]]:
    """Rounds of proposals for rows, and the counts up to each, until every row has an accepted one.

    Args:
        rows: the numbers of the rows, ``(B,)``.
        propose: makes a round for the rows that have none yet, given the counts so far.
        limit: no round begins after so many proposals.
        conditions: the conditions of acceptance in words, for the error.
        way: a further way out, for the error.

    Raises:
        TooFewError: at the limit, with the counts.
    """
    pending, tally = rows, Tally()
    while len(pending):
        if tally.proposals >= limit:
            words = f"only {tally.words(conditions)}, too few for {len(rows):,} rows"
            raise TooFewError(pending, f"{words}: ask for fewer rows, or for less{way}")
        proposed = propose(pending, tally)
        tally = Tally(tally.rounds + 1, tally.proposals + proposed.proposals, tally.accepted + proposed.accepted)
        yield proposed, tally
        pending = pending[~torch.isin(pending, proposed.rows)]


def search(
    model: GenerativeModel,
    x: Tensor,
    observed_mask: Tensor,
    restrictions: Mapping[int, Tensor],
    cond: Tensor | None,
    seed: int,
) -> Iterator[tuple[Tensor, Tensor]]:
    """Complete raw rows ``(B, L)`` by a model that only draws whole samples: those that agree are taken.

    Yields:
        The numbers of the rows that some samples complete, and these samples. There may be none.

    Raises:
        TooFewError: if too few samples agree, with the counts, and the models that need no search.
        ValueError: for several conditions, or too many different sets of observed values.
    """
    if cond is not None and int(numbered(cond).max()) > 0:
        raise ValueError(
            f"cond must be one condition for all rows, since this {model.paradigm} model draws whole samples, got "
            "several: complete the rows of each condition alone"
        )
    given, able = None if cond is None else cond[0], f"use a model of arbitrary conditionals ({ABLE})"
    sets = torch.cat([torch.where(observed_mask, x, 0), observed_mask.long()], 1).cpu()
    distinct, group = torch.unique(sets, dim=0, return_inverse=True)
    if len(distinct) > DISTINCT:
        raise ValueError(
            f"different sets of observed values must be at most {DISTINCT}, since this {model.paradigm} model draws "
            f"whole samples, got {len(distinct)}: {able}"
        )

    def propose(pending: Tensor, tally: Tally) -> Round[Tensor]:
        samples = model.sample(1024, cond=given, seed=seed, start=tally.proposals).cpu()
        agreement = [torch.isin(samples[:, i], values.cpu()) for i, values in restrictions.items()]
        inside = torch.stack([torch.ones(len(samples), dtype=torch.bool), *agreement]).all(0)
        rows, hits = [], []
        for g, (values, mask) in enumerate(zip(*distinct.chunk(2, 1), strict=True)):
            waiting = pending[group[pending] == g]
            hit = (inside & ((samples == values) | (mask == 0)).all(1)).nonzero().squeeze(1)
            rows.append(waiting[: len(hit)])
            hits.append(hit[: len(waiting)])
        return Round(torch.cat(rows), samples[torch.cat(hits)], len(samples), sum(map(len, rows)))

    limit = max(LEAST, DRAWS * len(x))
    for proposed, _ in accept(torch.arange(len(x)), propose, limit, "the given values", f", or {able}"):
        yield proposed.rows, proposed.content
