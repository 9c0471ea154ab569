"""Categories: one of a few names, such as the class of an image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from fourfold.core import Excerpts, Space, numbers_of, unknown_like
from fourfold.core.conditions import items_of, unknown
from fourfold.machine.libraries import pandas as pd
from fourfold.metrics.coordinates import OneHot
from fourfold.metrics.references import References
from fourfold.output.printable import one_of, shortened

__all__ = ["Categories"]


@dataclass(frozen=True)
class Categories(Space):
    """One of several categories: raw batches are int64 ``(B,)``, the place of each among the names.

    Attributes:
        names: the names of the categories.

    Raises:
        ValueError: for no name, or a name that is there twice.
    """

    item_name: ClassVar[str] = "labels"
    several_draws: ClassVar[bool] = False
    names: tuple[str, ...]

    def __post_init__(self) -> None:
        if not self.names or len({*self.names}) < len(self.names):
            raise ValueError(f"names must be at least one, each once, got {shortened(self.names) or 'none'}")

    @classmethod
    def numbered(cls, count: int) -> Categories:
        """``count`` categories that are called 0, 1, ..."""
        return cls(tuple(map(str, range(count))))

    @property
    def count(self) -> int:
        """The number of categories."""
        return len(self.names)

    def __str__(self) -> str:
        return f"one of {self.count} categories ({shortened(self.names, 6)})"

    @property
    def shape(self) -> tuple[int, ...]:
        return ()

    @property
    def unit(self) -> str:
        return "nats"

    def check(self, x: Tensor) -> None:
        self.check_shape(x)
        if x.dtype != torch.int64 or (x.numel() and not 0 <= int(x.min()) <= int(x.max()) < self.count):
            raise ValueError(
                f"labels must be int64 from 0 to {self.count - 1}, got {x.dtype} {shortened(map(str, x.tolist()), 6)}"
            )

    def examples(self, n: int, generator: torch.Generator) -> Tensor:
        return torch.randint(self.count, (n,), generator=generator)

    def support(self, points: int, reach: float) -> tuple[Tensor, float]:
        return torch.arange(self.count), 1.0

    def fits(self, other: Space) -> bool:
        return isinstance(other, Categories) and other.names == self.names

    def conform(self, x: Tensor, source: Space | None = None) -> Tensor:
        """Labels of other categories, by their names."""
        if not isinstance(source, Categories) or source.names == self.names:
            return super().conform(x, source).long()
        foreign = [name for name in source.names if name not in self.names]
        if foreign:
            raise ValueError(
                f"label must be {one_of(foreign[0], self.names)}; leave such examples out, or name another label column"
            )
        return torch.tensor([self.names.index(name) for name in source.names])[x.long()]

    def conditions(self, value: Any, n: int) -> Tensor:
        """Labels of ``n`` samples: a name or a number for all, or one for each. -1 and ``None`` are "unknown".

        A name that is also a number stands for the category of that name.
        """
        value = items_of(value)
        if isinstance(value, str):
            value = self._label(value)
        elif isinstance(value, Sequence):
            value = [self._label(name) if isinstance(name, str) else -1 if name is None else name for name in value]
        labels = numbers_of(value)
        labels = labels.masked_fill(unknown(labels.reshape(-1, 1)).view(labels.shape), -1)
        labels = labels.reshape(-1).expand(n) if labels.numel() == 1 else labels
        whole = not labels.is_floating_point() and labels.shape == (n,)
        if not whole or not -1 <= int(labels.min()) <= int(labels.max()) < self.count:
            raise ValueError(
                f"the condition must be a label or {n} labels between 0 and {self.count - 1} (-1: unknown), or names "
                f"({shortened(self.names)}), got {str(value)[:60]}"
            )
        labels = labels.long()
        return torch.where(labels < 0, unknown_like(labels), labels)

    def _label(self, name: str) -> int:
        if name in self.names:
            return self.names.index(name)
        if name.lstrip("-").isdecimal():
            return int(name)
        raise ValueError(f"class must be {one_of(name, self.names)}")

    def table(self, x: Tensor) -> pd.DataFrame:
        """One column of names."""
        return pd.DataFrame({"label": [self.names[label] for label in x.tolist()]})

    def condition_table(self, cond: Tensor) -> pd.DataFrame:
        return pd.DataFrame({"label": [self.names[label] if label >= 0 else "" for label in cond.tolist()]})

    def coordinates(self, data: Tensor) -> OneHot:
        return OneHot(self.count)

    def picture(self, x: Tensor, references: References | None = None, columns: int | None = None) -> Excerpts:
        return Excerpts(tuple(self.names[label] for label in x.tolist()))
