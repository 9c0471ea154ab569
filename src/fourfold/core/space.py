"""Spaces: what an example is, and how sets of examples are read from files, written and shown."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from numbers import Integral
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, Self, TypeAlias

import numpy as np
import torch
from torch import Tensor

from fourfold.core.conditions import Condition, as_condition, numbers_of, unknown, unknown_like
from fourfold.core.example import Example
from fourfold.core.quality import Quality
from fourfold.machine.libraries import pandas as pd

__all__ = ["ALONE", "Beside", "Pairs", "Space", "Writer"]


class Beside(NamedTuple):
    """The conditions of examples as files show them, beside the examples. Each part may be absent."""

    table: pd.DataFrame | None = None
    """Columns of the conditions, with a row for each example."""
    labels: Sequence[str] = ()
    """The class of each example. The table has it, too."""
    prompts: Sequence[str] = ()
    """The texts that the examples were drawn for, in order and with equally many examples each."""

    def after(self, frame: pd.DataFrame, counts: Tensor | None = None) -> pd.DataFrame:
        """A table of the examples with the columns of the conditions behind its own.

        Args:
            frame: the table.
            counts: how many rows each example has there, see :meth:`Space.row_counts`. ``None``: one.
        """
        kind = "class" if self.labels else "condition"
        for name, values in {} if self.table is None else self.table.items():
            column = values if counts is None else np.repeat(values.to_numpy(), counts.numpy())
            frame[f"{name} ({kind})" if name in frame else name] = list(column)
        return frame


ALONE = Beside()
"""Examples without conditions."""


Writer: TypeAlias = Callable[[Path, Tensor, Beside], None]
"""``writer(path, x, beside)`` writes raw examples ``x``, ``(B, *shape)``, to a file or folder."""

MOST_COLUMNS = 64
"""The most columns of a condition that stand beside examples in a table."""


class Pairs(NamedTuple):
    """A raw set of a space, with the condition of each example. ``space.given`` is the space of these."""

    space: Space
    x: Tensor
    cond: Tensor | None = None


@dataclass(frozen=True)
class Space(Quality, Example):
    """The definition of one raw example. Nothing outside a space depends on which space it is.

    Concrete spaces are frozen dataclasses, one file each: those of :mod:`fourfold.spaces`, and anyone's. A raw batch is
    one tensor ``(B, *shape)``. A space must define :attr:`shape`, :attr:`unit`, :meth:`check` and :meth:`examples`.
    Models of it can then be built, trained, sampled, scored, saved and checked. With :meth:`measures` they can be
    evaluated and compared. Every other method has an answer that suits most spaces.

    Attributes:
        given: the space of the conditions that examples come with, such as categories, or ``None``.
        columns: names of the values of an example, by which columns of a table are found. Empty where they have none.
        covariates: those of them that are known beforehand where rows follow each other in time.
        names: names of all examples, where these are a few categories. Empty elsewhere.
        parts: the spaces that lie side by side in an example, where there are several. Empty elsewhere.
        labels: the names of the parts. Empty where they have none.
        item_name: the name of what a raw set holds, in the plural.
        mixed: whether examples are read from tables of mixed columns.
        settings: the settings of :func:`fourfold.load` that :meth:`of_conditions` takes, in place of a reader.
    """

    given: Space | None = dataclasses.field(default=None, kw_only=True)
    columns = tuple[str, ...]()  # not a field: a space may have one of this name
    covariates = tuple[str, ...]()
    names = tuple[str, ...]()
    labels = tuple[str, ...]()
    parts = tuple[Any, ...]()
    item_name: ClassVar[str] = "examples"
    mixed: ClassVar[bool] = False
    settings: ClassVar[tuple[str, ...]] = ()

    @property
    def conditional(self) -> bool:
        """True if examples come with conditions."""
        return self.given is not None

    def conditioned_on(self, given: Space | None) -> Self:
        """The space of the same examples with conditions of another space, or without."""
        return dataclasses.replace(self, given=given)

    def encode_condition(self, value: Condition, n: int, device: torch.device | str = "cpu") -> Tensor | None:
        """Encode the conditions of ``n`` samples, ``(n, *given.shape)``. ``None`` stays so: they are unknown.

        Raises:
            TypeError: for n that is no whole number.
            ValueError: for n < 1, or conditions that the space does not have.
        """
        if not isinstance(n, Integral):
            raise TypeError(f"n must be a whole number, the number of samples, got {type(n).__name__}")
        if n < 1:
            raise ValueError(f"n must be at least 1, got {n}")
        if value is None:
            return None
        if self.given is None:
            raise ValueError("the condition must be left out, as this model is unconditional; train one with given")
        return self.given.conditions(value, n).to(device)

    def unknown(self, n: int) -> Tensor:
        """``n`` unknown conditions, ``(n, *shape)``."""
        return unknown_like(as_condition(self.examples(n, torch.Generator().manual_seed(0))))

    def examples_of(self, cond: Tensor) -> Tensor:
        """Conditions that are known as raw examples. It undoes :func:`~fourfold.core.as_condition`.

        Integers that the dtype of raw examples does not hold stay as they are, for :meth:`check` to refuse.
        """
        dtype = self.examples(1, torch.Generator().manual_seed(0)).dtype
        if cond.is_floating_point() or dtype.is_floating_point:
            return cond
        return cond.to(dtype) if torch.equal(cond.to(dtype).to(cond.dtype), cond) else cond

    def conditions(self, value: Any, n: int) -> Tensor:
        """Encode the conditions of ``n`` samples: one example of this space for all, or one for each.

        Args:
            value: a tensor, an array or numbers, ``(*shape,)`` or ``(n, *shape)``. A row may be unknown, see
                :class:`~fourfold.core.Batch`.
            n: number of samples.

        Returns:
            ``(n, *shape)``, see :func:`~fourfold.core.as_condition`.

        Raises:
            ValueError: for conditions of another shape, number or kind.
        """
        x = self.arranged(numbers_of(value))
        if x.shape in (self.shape, (1, *self.shape)):
            x = x.expand(n, *self.shape)
        if x.shape != (n, *self.shape):
            raise ValueError(
                f"the condition must be an example of {self}, {tuple(self.shape)}, or {n} of them, got the shape "
                f"{tuple(x.shape)}"
            )
        observed_mask = ~unknown(x)
        examples = self.conform(self.examples_of(x[observed_mask]))
        self.check(examples)
        cond = as_condition(examples)
        rows = unknown_like(cond[:1]).expand(n, *self.shape).clone() if len(cond) else self.unknown(n)
        rows[observed_mask] = cond
        return rows

    @property
    def window(self) -> int | None:
        """Length of the windows that are the examples of a stream, such as a text. ``None``: there is no stream.

        The raw set of such a space is one long row of values.
        """
        return None

    @property
    def bytewise(self) -> bool:
        """True if :meth:`parse_bytes` reads a stream from a file of any kind, else the file's own reader does."""
        return self.window is not None

    def rows(self, x: Tensor) -> Tensor:
        """The examples of a raw set, ``(N, *shape)``: the set itself, or the windows of a stream that do not overlap.

        Raises:
            ValueError: for a stream without one full window.
        """
        if self.window is None:
            return x
        if len(x) < self.window:
            few = f"{len(x)} {self.item_name} are fewer than one window of {self.window}"
            raise ValueError(f"{few}: give a longer {type(self).__name__.lower()}")
        starts = self.starts(x)
        if starts is None:
            return x[: len(x) // self.window * self.window].reshape(-1, *self.shape)
        if not len(starts):
            raise ValueError(f"no series has {self.window} {self.item_name}, a window: give longer ones")
        run = starts - torch.arange(len(starts))  # the same for windows that begin one after the other
        first = starts[torch.searchsorted(run, run)]
        return x[starts[(starts - first) % self.window == 0, None] + torch.arange(self.window)]

    def starts(self, x: Tensor) -> Tensor | None:
        """The places in a stream where a window may begin, ascending. ``None``: anywhere."""
        return None

    def parse_bytes(self, content: bytes, most: int | None = None) -> Tensor:
        """The stream that a file holds, or its first ``most`` values. Needed only for a :attr:`bytewise` space.

        Raises:
            ValueError: for content that is not of this space, with its position.
        """
        raise ValueError(f"{self} is not read from bytes: implement {type(self).__name__}.parse_bytes(content, most)")

    def reading(self) -> Mapping[str, Any]:
        """The settings of :func:`fourfold.load` by which files are read for this space, such as the rate of sounds.

        By default they are the size and channels of examples ``(C, H, W)``, or the length of a window.
        """
        if len(self.shape) == 3:
            return {"size": self.shape[1:], "channels": self.shape[0]}
        return {} if self.window is None else {"length": self.window}

    @classmethod
    def specimens(cls) -> Mapping[str, Sequence[Space]]:
        """Small spaces by the kind of data, such as ``"sounds"``: of the first that a recipe models come its facts.

        By default there are none, and no table of facts has a row of this space.
        """
        return {}

    @classmethod
    def of(cls, space: Space, x: Tensor) -> Space:
        """The space of this class for data that was read as another. It is called for a space chosen by name.

        A file of numbers is read as vectors with names of columns. A space of rows of numbers, such as angles, makes
        itself from these. :meth:`conform` then brings the examples into it.

        Args:
            space: the space that the data was read as.
            x: all raw examples, ``(N, *space.shape)``, or a stream.

        Raises:
            ValueError: for data that is not of this kind.
        """
        if not isinstance(space, cls):
            raise ValueError(f"holds {space}, which cannot be read as {cls.__name__}: choose another space")
        return space

    @classmethod
    def of_conditions(cls, pairs: Pairs, settings: Mapping[str, Any]) -> Space | None:
        """The space of this class for the conditions of data, such as for the transcripts of sounds.

        One source has two sides: sounds with transcripts are read for a model that speaks, and texts with sounds for
        one that listens. It is called for a space chosen by name. :meth:`from_conditions` then turns the pairs round.

        Args:
            pairs: the data as they were read.
            settings: the values of :attr:`settings`, ``None`` where they were not given.

        Returns:
            the space, or ``None`` where its examples are those of the data, see :meth:`of`.

        Raises:
            ValueError: for data that are not of this kind.
        """
        return None

    def from_conditions(self, pairs: Pairs) -> Pairs | None:
        """Pairs turned round: conditions as examples of this space, each with what was its example as its condition.

        Returns:
            the pairs, or ``None`` where examples of this space are those of the data, see :meth:`conform`.

        Raises:
            ValueError: for data that this space does not hold.
        """
        return None

    def check_training(self, x: Tensor) -> None:
        """Refuse a training set that no model can learn, such as one with a constant column (``ValueError``)."""

    def notes(self, x: Tensor) -> tuple[str, ...]:
        """Remarks on a raw set that its user should read, such as tied values."""
        return ()

    @property
    def free(self) -> Space:
        """The space of what models learn, where a part of an example follows from the rest. By default the space."""
        return self

    def reduce(self, x: Tensor) -> Tensor:
        """Raw examples ``(B, *shape)`` as examples of :attr:`free`. One without mass has none there."""
        return x

    def expand(self, x: Tensor) -> Tensor:
        """The raw examples ``(B, *shape)`` of examples of :attr:`free`. It undoes :meth:`reduce`."""
        return x

    def confirmed(self, x: Tensor) -> Self:
        """The space without those of its findings that held-out examples contradict, such as rules of a table."""
        return self

    def fits(self, other: Space) -> bool:
        """True if examples of another space are examples of this one without a change."""
        return type(other) is type(self) and other.shape == self.shape

    def require(self, other: Space) -> None:
        """Refuse another space that does not fit (``ValueError`` with both in words)."""
        if not self.fits(other):
            raise ValueError(f"data must be {self}, got {other}; give data of the same kind, size and columns")

    def conform(self, x: Tensor, source: Space | None = None) -> Tensor:
        """Raw examples from elsewhere, or a stream, brought into this space.

        Args:
            x: the examples or the stream.
            source: the space that they were read as. ``None`` for an array or tensor in the layout of this space.

        Raises:
            ValueError: for examples of another kind.
        """
        if source is not None:
            self.require(source)
        return self.arranged(x)

    def arranged(self, x: Tensor) -> Tensor:
        """Raw examples, or one, of another layout that data may have, such as images whose channels come last.

        What fits no such layout stays as it is.
        """
        return x

    @property
    def column_names(self) -> list[str]:
        """The names of the values of an example in a table."""
        return list(self.columns or (f"x{i}" for i in range(self.dims)))

    def table(self, x: Tensor) -> pd.DataFrame:
        """A table of one row for each example: its values under the names of their columns."""
        return pd.DataFrame(x.flatten(1).numpy(), columns=self.column_names)

    def condition_table(self, cond: Tensor) -> pd.DataFrame | None:
        """Conditions of this space as columns beside examples of another one. ``None``: they are too large for that.

        Cells of an unknown condition are empty.
        """
        if len(self.shape) > 1 or self.dims > MOST_COLUMNS:
            return None
        observed_mask = ~unknown(cond)
        rows = self.table(self.examples_of(cond[observed_mask]))
        return rows.set_index(observed_mask.nonzero().flatten().numpy()).reindex(range(len(cond)))

    def with_keys(self, keys: Sequence[str]) -> Self:
        """The same space, whose first examples are written to files under these names, if files name examples."""
        return self

    def lines(self, x: Tensor, beside: Beside = ALONE) -> str | None:
        """Examples as plain text for standard output. ``None``: as a table."""
        return None

    def writers(self) -> Mapping[str, Writer]:
        """Writers of formats that only this space has, by suffix, the usual one first; "" stands for a folder.

        Every space has ``.npy``, ``.npz``, ``.csv`` and ``.parquet``. A space whose usual suffix is ``.txt`` is printed
        where no file is named.
        """
        return {}
