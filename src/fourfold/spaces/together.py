"""Several things at once, such as a picture and its class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from fourfold.core import Album, Excerpts, Space
from fourfold.core.conditions import as_condition, unknown, unknown_like
from fourfold.machine.libraries import pandas as pd
from fourfold.metrics.features import Features
from fourfold.metrics.mmd import median_bandwidth
from fourfold.metrics.references import References
from fourfold.output.printable import shortened
from fourfold.spaces.columns import MISSING

__all__ = ["Together"]

SHOWN = 8
"""The most examples in a picture."""
MEASURED = 1000
"""Examples of which the median distance is taken."""
SIGNS = -(2**62)
"""Codes below are signs, such as that of a missing value, and no quantities."""
APART = 2**40
"""Distance of two signs among real numbers: they stay apart, and exact, in float32."""


@dataclass(frozen=True)
class Together(Space):
    """One example of each of several spaces: raw batches are float64 ``(B, sum of dims)``, the parts side by side.

    They are float32 where it holds all values of the parts. A part whose values are all NaN is unknown. Codes of tables
    are exact up to 2^53.

    Attributes:
        parts: the spaces.
        labels: the names of the parts, empty where they have none.

    Raises:
        ValueError: for no part, a part with conditions, another number of names than parts, or a name that is there
            twice.
    """

    parts: tuple[Space, ...]
    labels: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.parts or any(part.conditional for part in self.parts):
            raise ValueError(f"parts must be at least one space, each without conditions, got {self.parts}")
        if len(self.labels) not in (0, len(self.parts)) or len({*self.labels}) < len(self.labels):
            raise ValueError(f"labels must be {len(self.parts)} different names or none, got {self.labels}")

    def __str__(self) -> str:
        if not self.labels:
            return " with ".join(map(str, self.parts))
        return " with ".join(f"{label}: {part}" for label, part in zip(self.labels, self.parts, strict=True))

    @property
    def shape(self) -> tuple[int, ...]:
        return (sum(part.dims for part in self.parts),)

    @property
    def unit(self) -> str:
        return "nats"

    # --- parts --------------------------------------------------------------------------------------------------------

    @cached_property
    def _forms(self) -> tuple[Tensor, ...]:
        """Some examples of each part, which tell its dtype and the size of its values."""
        return tuple(as_condition(part.examples(64, torch.Generator().manual_seed(0))) for part in self.parts)

    @cached_property
    def dtype(self) -> torch.dtype:
        """The dtype of raw batches."""
        exact = all(
            torch.equal(_integers(_reals(form).float(), form.dtype).view_as(form), form) for form in self._forms
        )
        return torch.float32 if exact else torch.float64

    def join(self, parts: Sequence[Tensor]) -> Tensor:
        """Raw examples or conditions of each part, ``(B, *part.shape)`` each, as those of this space, ``(B, dims)``."""
        rows = [_reals(x).masked_fill(unknown(x)[:, None], torch.nan) for x in map(as_condition, parts)]
        return torch.cat(rows, 1).to(self.dtype)

    def split(self, x: Tensor) -> list[Tensor]:
        """The parts of raw examples ``(B, dims)``, each ``(B, *part.shape)`` in its dtype. Each may be unknown."""
        columns = torch.split(x, [part.dims for part in self.parts], 1)
        rows = zip(columns, self.parts, self._forms, strict=True)
        return [_integers(flat, form.dtype).reshape(-1, *part.shape) for flat, part, form in rows]

    # --- examples and conditions --------------------------------------------------------------------------------------

    def check(self, x: Tensor) -> None:
        self.check_shape(x)
        if not x.is_floating_point():
            raise ValueError(f"examples of several spaces must be floating point, got {x.dtype}: use space.join(parts)")
        for i, (part, rows) in enumerate(zip(self.parts, self.split(x), strict=True)):
            try:
                part.check(part.examples_of(rows[~unknown(rows)]))
            except ValueError as error:
                raise ValueError(f"{self._label(i)}: {error}") from None

    def _label(self, i: int) -> str:
        return self.labels[i] if self.labels else f"part {i + 1}"

    def examples(self, n: int, generator: torch.Generator) -> Tensor:
        return self.join([part.examples(n, generator) for part in self.parts])

    def support(self, points: int, reach: float) -> tuple[Tensor, float]:
        """All examples of each part with all of the others."""
        supports = [part.support(points, reach) for part in self.parts]
        places = torch.cartesian_prod(*(torch.arange(len(x)) for x, _ in supports)).reshape(-1, len(supports))
        x = self.join([x[places[:, i]] for i, (x, _) in enumerate(supports)])
        return x, float(np.prod([volume for _, volume in supports]))

    def outside(self, x: Tensor) -> Tensor | None:
        marks = [part.outside(part.examples_of(rows)) for part, rows in zip(self.parts, self.split(x), strict=True)]
        answers = [mark for mark in marks if mark is not None]
        return torch.stack(answers).any(0) if answers else None

    def _alike(self, other: Space | None) -> Together | None:
        """Another space of as many parts and values, or ``None``."""
        together = cast("Together", other) if other is not None and super().fits(other) else None
        return together if together is not None and len(together.parts) == len(self.parts) else None

    def fits(self, other: Space) -> bool:
        together = self._alike(other)
        if together is None or (together.labels not in (self.labels, ()) and self.labels):
            return False
        return all(part.fits(source) for part, source in zip(self.parts, together.parts, strict=True))

    def conform(self, x: Tensor, source: Space | None = None) -> Tensor:
        """Examples of other parts, each as its part takes them, such as labels by their names.

        A table of as many real numbers is taken as it is.
        """
        together = self._alike(source)
        if together is None:
            flat = source is not None and source.shape == self.shape and x.is_floating_point()
            return super().conform(x, None if flat else source).to(self.dtype)
        rows = []
        for part, old, values in zip(self.parts, together.parts, together.split(x), strict=True):
            hidden = unknown(values)
            whole = part.unknown(len(x))
            whole[~hidden] = as_condition(part.conform(old.examples_of(values[~hidden]), old))
            rows.append(whole)
        return self.join(rows)

    def conditions(self, value: Any, n: int) -> Tensor:
        """A tuple with a condition of each part, or names of parts with theirs. ``None``, and no name, is unknown.

        A list of such tuples or names has one for each sample. A tensor is of raw examples.

        Raises:
            ValueError: for another number of parts, or names that no part has.
        """
        if isinstance(value, list) and value and all(isinstance(item, (tuple, Mapping)) for item in value):
            if len(value) != n:
                raise ValueError(f"the condition must be one, or {n} of them, got {len(value)}")
            return torch.cat([self.conditions(item, 1) for item in value])
        if isinstance(value, Mapping):
            foreign = [name for name in value if name not in self.labels]
            if foreign:
                raise ValueError(f"the condition must be of {shortened(self.labels) or 'no name'}, got {foreign[0]!r}")
            value = tuple(value.get(label) for label in self.labels)
        if not isinstance(value, (tuple, list)):
            return super().conditions(value, n)
        if len(value) != len(self.parts):
            raise ValueError(f"the condition must be {len(self.parts)} values, one for each part, got {len(value)}")
        rows = zip(self.parts, value, strict=True)
        return self.join([part.unknown(n) if item is None else part.conditions(item, n) for part, item in rows])

    def condition_table(self, cond: Tensor) -> pd.DataFrame | None:
        """The columns of all parts that are small enough, behind the names of the parts if there are any."""
        frames = []
        for i, (part, rows) in enumerate(zip(self.parts, self.split(cond), strict=True)):
            frame = part.condition_table(rows)
            if frame is not None:
                frames.append(frame.add_prefix(f"{self._label(i)}: "))
        return pd.concat(frames, axis=1) if frames else None

    @property
    def several_draws(self) -> bool:  # type: ignore[override]
        """True if a part is neither categories nor texts."""
        return any(part.several_draws for part in self.parts)

    def coordinates(self, data: Tensor) -> Features:
        return _Coordinates(self, data)

    def picture_of_one(self, x: Tensor) -> Album:
        """The parts that are known, each as its space shows it."""
        parts = zip(self.parts, self.split(x[None]), strict=True)
        observed = [(part, rows) for part, rows in parts if not unknown(rows).any()]
        return Album(tuple(part.picture_of_one(part.examples_of(rows)[0]) for part, rows in observed))

    def picture(self, x: Tensor, references: References | None = None, columns: int | None = None) -> Excerpts:
        """The values of the first examples as text, the first ones of each part."""
        parts = zip(self.parts, self.split(x[:SHOWN]), strict=True)
        frames = [part.table(part.examples_of(rows)).iloc[:, :SHOWN] for part, rows in parts]
        rows = pd.concat(frames, axis=1).astype(str)
        return Excerpts(
            tuple(", ".join(f"{name} {value}" for name, value in row.items()) for _, row in rows.iterrows())
        )


class _Coordinates(Features):
    """Coordinates of all parts, each over the median distance of its data. An unknown part is at zero."""

    def __init__(self, space: Together, data: Tensor) -> None:
        self.space, parts = space, list(zip(space.parts, space.split(data), strict=True))
        examples = [part.examples_of(rows[~unknown(rows)]) for part, rows in parts]
        self.features = [part.coordinates(rows) for part, rows in zip(space.parts, examples, strict=True)]
        points = [features(rows) for features, rows in zip(self.features, examples, strict=True)]
        self.scales = [(median_bandwidth(z[:MEASURED]), z.shape[1]) for z in points]
        self.name = " and ".join(features.name for features in self.features)
        self.protocol = "; ".join(features.protocol for features in self.features)

    def __call__(self, x: Tensor) -> Tensor:
        blocks = []
        for part, rows, features, (scale, width) in zip(
            self.space.parts, self.space.split(x), self.features, self.scales, strict=True
        ):
            block, hidden = torch.zeros(len(x), width), unknown(rows)
            block[~hidden] = features(part.examples_of(rows[~hidden])) / scale
            blocks.append(block)
        return torch.cat(blocks, 1)


def _reals(x: Tensor) -> Tensor:
    """Examples as float64 ``(B, dims)``, with the signs among integers far apart."""
    flat = x.reshape(len(x), -1)
    if flat.dtype == torch.int64:
        flat = torch.where(flat < SIGNS, (flat - MISSING) * APART + MISSING, flat)
    return flat.double()


def _integers(flat: Tensor, dtype: torch.dtype) -> Tensor:
    """It undoes :func:`_reals`: values of a dtype, and unknown ones where a row is NaN."""
    if dtype.is_floating_point:
        return flat.to(dtype)
    hidden = unknown(flat)[:, None]
    values = flat.masked_fill(hidden, -1).round().to(torch.int64)
    if dtype == torch.int64:
        values = torch.where(values < SIGNS, (values - MISSING) // APART + MISSING, values)
    values = values.to(dtype)
    return torch.where(hidden, unknown_like(values), values)
