"""Sequences that go on from given rows: a forecast is a draw of ``p(x_>=t | x_<t)``."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from functools import singledispatch
from typing import TYPE_CHECKING, final

import torch
from torch import Tensor

from fourfold.core import GenerativeModel, Noise, Space
from fourfold.core.evaluations import evaluating
from fourfold.data import Data, DataError, read_raw
from fourfold.estimands import Continuing
from fourfold.output.printable import shortened
from fourfold.spaces import Sequences
from fourfold.spaces.sequences import ABSENT

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Begun", "Continued", "begun", "continued"]


@final
@dataclass(frozen=True)
class Begun:
    """Sequences of which the first rows are given.

    Attributes:
        x: raw examples ``(B, length, C)``; rows that are not given are ``ABSENT``.
        rows: how many rows of each are given, ``(B,)``.
        space: the model's space, which writes these sequences under their own names, or from their own time on.
        notes: what reading changed.
    """

    x: Tensor
    rows: Tensor
    space: Sequences
    notes: tuple[str, ...] = ()


@final
@dataclass(frozen=True)
class Continued:
    """Given rows, and what a model drew after them.

    Attributes:
        x: raw examples ``(B, length, C)``, with the given rows first.
        rows: how many rows of each were given, ``(B,)``.
        space: writes them.
        notes: remarks for the user.
    """

    x: Tensor
    rows: Tensor
    space: Sequences
    notes: tuple[str, ...] = ()

    def table(self) -> pd.DataFrame:
        """All rows as a data frame."""
        return self.space.table(self.x)


@singledispatch
def begun(space: Space, data: Data, n: int = 1) -> Begun:
    """Rows of a file as the beginnings of sequences, each ``n`` times; another space registers its own.

    Args:
        space: of the model.
        data: the rows: a file or a data frame with the columns of the model.
        n: how many continuations of each are wanted.

    Raises:
        TypeError: for a space without rows to go on from.
        DataError: for rows that the model cannot go on from.
    """
    raise TypeError(f"rows are given to models of sequences, and this model knows {space}: train with --order")


@begun.register(Sequences)
def _(space: Sequences, data: Data, n: int = 1) -> Begun:
    from fourfold.data.tables import raw_frame

    raw, notes = read_raw(data, space)
    x = raw.x
    frame = raw_frame(data)[0]
    if space.key is None:
        return _of_series(space, x, frame, n, notes)
    rows = space.row_counts(x)
    keys = list(dict.fromkeys(frame[space.key].astype(str).str.strip()))
    full = [key for key, count in zip(keys, rows.tolist(), strict=True) if count >= space.length]
    if full:
        raise DataError(
            f"{space.key} {shortened(full, 3)}: {space.length} rows or more are given, and the model knows sequences "
            f"of up to {space.length}: give fewer rows, or train with a greater --length"
        )
    named = keys if n == 1 else [f"{key}#{i + 1}" for key in keys for i in range(n)]
    return Begun(x.repeat_interleave(n, 0), rows.repeat_interleave(n), space.named(named), notes)


def _of_series(space: Sequences, x: Tensor, frame: pd.DataFrame, n: int, notes: tuple[str, ...]) -> Begun:
    """The last rows of a series as the first half of a window."""
    kept = min(len(x), space.length // 2)
    if not kept:
        raise DataError(f"one row is too few to go on from: give at least 2, or {1 + space.length // 2} for the best")
    last = int(space.start.cells(frame[space.order]).max())
    window = torch.full((1, *space.shape), ABSENT)
    window[0, :kept] = x[-kept:]
    own = space.after(last - int(window[0, :kept, space.at].sum()))
    told = f"the last {kept} of {len(x) + 1} rows are given, and {space.length - kept} follow"
    return Begun(window.expand(n, -1, -1).clone(), torch.full((n,), kept), own, (*notes, told))


@torch.no_grad()
def continued(model: GenerativeModel, given: Begun, seed: int = 0, batch_size: int = 256) -> Continued:
    """Draw what follows the given rows of each sequence, up to its end.

    Args:
        model: of sequences.
        given: the rows, see :func:`begun`.
        seed: of the draws.
        batch_size: sequences per network call.

    Raises:
        TypeError: for a model that cannot go on from rows.
        ValueError: for rows that do not belong to the space.
    """
    estimand, codec = model.estimand, model.codec
    if not isinstance(estimand, Continuing):
        raise TypeError(f"this {model.paradigm} model cannot go on from given rows: use autoregressive or diffusion")
    x = given.x.clone()
    step = Noise.whole_blocks(batch_size)
    with evaluating(model):
        for rows in torch.unique(given.rows).tolist():
            places = (given.rows == rows).nonzero().flatten()
            for k, part in enumerate(torch.split(places, step)):
                noise = Noise(seed, k * step, k * step + len(part), f"after {rows} rows", model.device)
                own = given.x[part].to(model.device)
                z, mass = codec.encode(own)
                if not torch.isfinite(mass).all():
                    which = int(part[int((~torch.isfinite(mass)).nonzero()[0])])
                    raise ValueError(f"sequence {which}: has a value that the model never saw: correct it")
                drawn = codec.decode(estimand.go_on(z, rows, noise), noise)
                drawn[:, :rows] = own[:, :rows]
                x[part] = drawn.cpu()
    return Continued(x, given.rows, dataclasses.replace(given.space), given.notes)
