"""The codec of sequences: for each row a mark that it is there, and every value as a token."""

from __future__ import annotations

from collections.abc import Iterable
from typing import final

import torch
from torch import Tensor

from fourfold.codecs.table import ColumnTokens
from fourfold.core import Codec, Measure, Noise
from fourfold.spaces import Sequences, Table
from fourfold.spaces.sequences import ABSENT

__all__ = ["RowCodes", "RowTokens"]


@final
class RowTokens(Codec):
    """Rows as tokens, ``(B, length · (1 + C))`` int64: a mark, 1 for a row that is there, then its ``C`` values.

    Values have the tokens of :class:`~fourfold.codecs.ColumnTokens`. Where a keyed sequence starts has tokens of its
    own. All tokens behind the end are 0. The marks give the length, so codes and sequences correspond one to one up to
    the widths of bins:

        log p(x) = log p(tokens) - sum over the rows that are there of log width(token).

    Args:
        space: of the sequences.
        bins: the most bins of a number.
    """

    measure = Measure.COUNTING

    def __init__(self, space: Sequences, bins: int = 512) -> None:
        super().__init__()
        self.space, (self.length, columns) = space, space.shape
        self.event = (self.length * (1 + columns),)
        self.row = ColumnTokens(space.row, bins)
        self.starts = ColumnTokens(Table((space.start,)), bins) if space.key is not None else None

    @property
    def sizes(self) -> tuple[int, ...]:
        """Tokens of the mark and of the values of a row. Those of a keyed sequence's start stand before the step's."""
        if self.starts is None:
            return (1, *self.row.sizes)
        at = self.space.at
        return (2, *self.row.sizes[:at], *self.starts.sizes, *self.row.sizes[at:])

    def _places(self, columns: Iterable[int]) -> list[int]:
        """Where the values of some columns stand among :attr:`sizes`."""
        start = self.space.at if self.starts is not None else len(self.row.sizes)
        return [1 + i + (i >= start) for i in columns]

    @property
    def graded(self) -> tuple[int, ...]:
        """The places among :attr:`sizes` whose tokens are ordered."""
        start = [] if self.starts is None else [1 + self.space.at]
        return tuple(sorted([*start, *self._places(self.row.graded)]))

    @property
    def missing(self) -> tuple[int, ...]:
        """Those of :attr:`graded` whose last token is "missing"."""
        return tuple(self._places(i for i in self.row.graded if self.space.modelled[i].missing))

    def fit(self, x: Tensor) -> None:
        """Place the bins by the rows of sequences ``(N, length, C)``, or of a series ``(N, C)``."""
        at = self.space.at
        if self.starts is None:
            self.row.fit(x.flatten(0, -2))
            return
        self.starts.fit(x[:, 0, at, None])
        later = x.clone()
        later[:, 0, at] = ABSENT
        self.row.fit(later[self.space.present(x)])

    def encode(self, x: Tensor, noise: Noise | None = None) -> tuple[Tensor, Tensor]:
        there, at = self.space.present(x), self.space.at
        codes = torch.where(there[..., None], x, torch.zeros_like(x))
        if self.starts is not None:
            codes[:, 0, at] = self.space.steps[0]  # a value of the step, in place of the start
        token, log_mass = (part.view(x.shape) for part in self.row.tokenize(codes.flatten(0, 1)))
        if self.starts is not None:
            start, mass = self.starts.tokenize(x[:, 0, at, None])
            token[:, 0, at], log_mass[:, 0, at] = start[:, 0], mass[:, 0]
        mark = there if self.starts is not None else torch.zeros_like(there)
        z = torch.cat([mark.long()[..., None], token.masked_fill(~there[..., None], 0)], 2)
        return z.flatten(1), log_mass.double().masked_fill(~there[..., None], 0).sum((1, 2)).float()

    def decode(self, z: Tensor, noise: Noise | None = None) -> Tensor:
        rows = z.view(len(z), self.length, -1)
        token, at = rows[..., 1:].clone(), self.space.at
        u = torch.rand(token.shape, device=z.device) if noise is None else noise.uniform(*token.shape[1:])
        if self.starts is None:
            return self.row.at(token.flatten(0, 1), u.flatten(0, 1)).view(token.shape)
        start = self.starts.at(token[:, 0, at, None], u[:, 0, at, None])[:, 0]
        token[:, 0, at] = 0
        there = rows[..., 0].cumprod(1) > 0
        x = torch.full_like(token, ABSENT)
        x[there] = self.row.at(token[there], u[there])
        x[:, 0, at] = start
        return x


@final
class RowCodes(Codec):
    """Sequences or windows as they are, the codes ``(B, length · C)`` int64 of their values, for models of counts.

    Args:
        space: of the sequences.
    """

    measure = Measure.COUNTING

    def __init__(self, space: Sequences) -> None:
        super().__init__()
        self.space, self.event = space, (space.length * len(space.columns),)

    def encode(self, x: Tensor, noise: Noise | None = None) -> tuple[Tensor, Tensor]:
        return x.flatten(1), torch.zeros(len(x)).to(x.device).masked_fill(self.space.outside(x), -torch.inf)

    def decode(self, z: Tensor, noise: Noise | None = None) -> Tensor:
        return z.view(len(z), *self.space.shape)
