"""Rows over time by trees beside linear predictions: the last row of a run given the rows before it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fourfold.codecs.table import ColumnTokens
from fourfold.core import Part
from fourfold.maths.categorical import categorical, quantile
from fourfold.nn.row_regression import RowRegression
from fourfold.nn.trees import ColumnTrees
from fourfold.spaces.columns import MISSING

__all__ = ["RowMixture"]

ROUNDS = 50
"""Steps of expectation and maximisation of the shares."""
PART = 0.2
"""The part of the rows, at their end, that the shares are fitted to."""
LEAST = 10
"""Rows of this part, at least."""
PRIOR = 0.3
"""Rows that each part of the mixture has beforehand."""


@final
class RowMixture(Part, nn.Module):
    """``p(x_ti | rows before, x_t<i)``: trees beside vector autoregressions of the numbers.

        p(x_ti | ...) = s_i0 p_trees + sum_k s_ik p_k,    k: laws of numbers by linear predictions

    The shares ``s`` of a column are those under which the last fifth of the training rows is likeliest by models of
    the others, beside :data:`PRIOR` rows for each part. So the mixture loses to either only where this part of the
    series misjudges it.

    Args:
        net: the trees, whose columns are those of the rows of a run, one row after the other.
        tokens: the tokens of one row.
        numbers: the laws of the columns that hold numbers. ``None``: there are none.
        before: how far before the last row the other rows of a run lie, in their order: ``(2, 1)``.
        fixed: columns that all rows of a run share.
    """

    shares: Tensor

    def __init__(
        self,
        net: ColumnTrees,
        tokens: ColumnTokens,
        numbers: RowRegression | None,
        before: Sequence[int] = (2, 1),
        fixed: Sequence[int] = (),
    ) -> None:
        super().__init__()
        self.net, self.tokens, self.numbers = net, tokens, numbers
        self.before, self.fixed, self.columns = tuple(before), tuple(fixed), len(tokens.sizes)
        laws = 0 if numbers is None else numbers.laws
        self.register_buffer("shares", torch.eye(1, 1 + laws, dtype=torch.float64).repeat(self.columns, 1))

    @property
    def reach(self) -> int:
        """How far the first row of a run lies before its last one, in rows."""
        return max(self.before, default=0)

    # --- fitting ------------------------------------------------------------------------------------------------------

    @torch.no_grad()
    def fit(self, runs: Tensor, place: Tensor | None = None) -> None:
        """Grow the trees and regress on runs ``(M, R, C)`` in the order of time: on the first for the shares, then all.

        Args:
            runs: codes of rows.
            place: further features of each run, ``(M, F)``.
        """
        first = len(runs) - int(PART * len(runs))
        self.shares.fill_(0)[:, 0] = 1
        if self.numbers is not None and len(runs) - first >= LEAST:
            self._fit(runs[:first], None if place is None else place[:first])
            training = self.training
            nats = self.eval()._parts(runs[first:], None if place is None else place[first:])[:, :, -1]
            self._set_shares(nats.masked_fill(self._without_value(runs[first:, -1]), 0.0))
            self.train(training)
        self._fit(runs, place)

    def _fit(self, runs: Tensor, place: Tensor | None) -> None:
        self.tokens.fit(runs[:, -1])
        z = self._tokenize(runs)[0].flatten(1)
        rows = len(self.before) + 1
        masses, edges = (part.repeat(rows, 1) for part in (self.tokens.token_masses(), self.tokens.token_edges()))
        self.net.fit(z, place, masses, edges)
        if self.numbers is not None:
            self.numbers.fit(self._regressed(runs))

    def _set_shares(self, nats: Tensor) -> None:
        """Expectation and maximisation of the shares, by ``log p`` of rows ``(M, N, C)``."""
        masses = (nats - nats.amax(0)).exp().permute(2, 1, 0).nan_to_num(0.0)
        share = torch.full_like(self.shares, 1 / len(nats))
        for _ in range(ROUNDS):
            joint = share.unsqueeze(1) * masses
            rows = (joint / joint.sum(2, keepdim=True).clamp(min=1e-300)).sum(1)
            share = (rows + PRIOR) / (rows + PRIOR).sum(1, keepdim=True)
        numbers = torch.tensor([i in self.tokens.graded for i in range(self.columns)])
        self.shares.copy_(torch.where(numbers.unsqueeze(1), share, self.shares))

    # --- masses -------------------------------------------------------------------------------------------------------

    def forward(self, runs: Tensor, place: Tensor | None = None) -> Tensor:
        """``log p`` of the values of runs ``(B, R, C)``, each given those before it in its run, float64.

        Of trees with a context only those of the last row count.
        """
        return (self._parts(runs, place) + self.shares.log().T[:, None, None]).logsumexp(0)

    def _parts(self, runs: Tensor, place: Tensor | None = None) -> Tensor:
        """``log p`` of the values of runs by trees and by each law, ``(M, B, R, C)``, float64."""
        z, log_mass = self._tokenize(runs)
        trees = self.net(z.flatten(1), place).view(runs.shape).double() + log_mass
        if self.fixed:
            mask = torch.zeros_like(runs, dtype=torch.bool)
            mask[:, 1:, list(self.fixed)] = True
            same = torch.where(runs == runs.roll(1, 1), 0.0, -torch.inf).double()
            trees = torch.where(mask, same, trees)
        parts = trees.repeat(self.shares.shape[1], 1, 1, 1)
        if self.numbers is not None:
            columns, rows = list(self.tokens.graded), runs.shape[1]
            for t in range(rows - 1 if self.net.context else 1, rows):
                parts[1:, :, t, columns] = self.numbers(self._regressed(runs[:, : t + 1]))
        return parts

    def _without_value(self, rows: Tensor) -> Tensor:
        """Which values ``(*, C)`` are not there, though their column has no gaps: those before a keyed sequence."""
        return (rows == MISSING) & (self.tokens.gaps < 0)

    def _tokenize(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Tokens of rows ``(*, C)``, and log-masses given these. A value that is not there has any token."""
        rows = torch.where(self._without_value(rows), self.any_row(rows), rows)
        z, log_mass = self.tokens.tokenize(rows.flatten(0, -2))
        return z.view(rows.shape), log_mass.view(rows.shape)

    def any_row(self, like: Tensor) -> Tensor:
        """A value of each column, ``(C,)``."""
        return like.new_tensor([column.span[0] for column in self.tokens.space.modelled])

    def _regressed(self, rows: Tensor) -> Tensor:
        """The numbers of the last rows of some, as many as laws read. Those before the first are missing."""
        assert self.numbers is not None
        count = self.numbers.rows
        return F.pad(
            rows[:, -count:, list(self.tokens.graded)], (0, 0, max(count - rows.shape[1], 0), 0), value=MISSING
        )

    # --- drawing ------------------------------------------------------------------------------------------------------

    def draw(
        self, run: Tensor, place: Tensor | None, u: Tensor, columns: Collection[int], temperature: float = 1.0
    ) -> Tensor:
        """The last row of runs ``(B, R, C)`` with some columns drawn, ``(B, C)``. A run may have fewer rows before it.

        Args:
            run: codes. Those of the last row that are drawn hold any value.
            place: further features.
            u: uniform numbers ``(B, C, 4)``, float64.
            columns: which are drawn. The others stay.
            temperature: divides the logits of trees.
        """
        run, block = run.clone(), run.shape[1] - 1
        run[:, -1, list(columns)] = self.any_row(run)[list(columns)]
        z = torch.zeros(len(run), self.net.columns, dtype=torch.long, device=run.device)
        if block:
            z[:, : block * self.columns] = self._tokenize(run[:, :-1])[0].flatten(1)
        last = block * self.columns
        for i in range(self.columns):
            token = self._tokenize(run[:, -1])[0]
            if block and i in self.fixed:
                run[:, -1, i] = run[:, -2, i]
            elif i in columns:
                token[:, i] = categorical(self.net(z, place, last + i) / temperature, u[:, i, 0].float())
                value = self.tokens.at(token, u[:, i, 1:2].expand(-1, self.columns), i)[:, i]
                run[:, -1, i] = self._by_laws(run, i, value, u[:, i]) if block and i in self.tokens.graded else value
            z[:, last + i] = self._tokenize(run[:, -1])[0][:, i]
        return run[:, -1]

    def _by_laws(self, run: Tensor, i: int, value: Tensor, u: Tensor) -> Tensor:
        """Values of column ``i`` by the trees, or by a law that is drawn by the shares, ``(B,)``."""
        assert self.numbers is not None
        part = quantile(self.shares[i].cumsum(0), u[:, 3])
        law = (part - 1).clamp(min=0)
        by_law = self.numbers.draw(self._regressed(run), self.tokens.graded.index(i), law, u[:, 1:3])
        return torch.where(part == 0, value, by_law)
