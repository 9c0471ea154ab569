"""Real vectors: the rows of a table of numbers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import final

import torch
from torch import Tensor

from fourfold.core import Cloud, Rows, Space, Strips
from fourfold.metrics.features import StandardisedColumns
from fourfold.metrics.measures import by_features
from fourfold.metrics.references import References
from fourfold.metrics.score import Measurement
from fourfold.output.printable import shortened

__all__ = ["Plane", "Vectors", "numbered"]

SHOWN = 800
"""The most points in a picture."""
LINES = 8
"""The most columns in a picture of one vector."""
FEWEST = 20
"""The fewest rows in which ties are looked for."""


def numbered(count: int) -> tuple[str, ...]:
    """Names of the columns of a table without a header."""
    return tuple(f"column {i + 1}" for i in range(count))


@dataclass(frozen=True)
class Vectors(Space):
    """Real vectors: raw batches are float32 ``(B, dim)``.

    Attributes:
        dim: number of columns.
        columns: names of the columns, empty where they have none.
        observed: how many rows the data has, or ``None``. Few rows have another default recipe.

    Raises:
        ValueError: for another number of names than columns.
    """

    dim: int
    columns: tuple[str, ...] = field(default=())
    observed: int | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        if self.dim < 1 or len(self.columns) not in (0, self.dim):
            raise ValueError(f"columns must name all {self.dim} values or none, got {self.columns}")

    def __str__(self) -> str:
        columns = f" ({shortened(self.columns, 6)})" if self.columns else ""
        return f"real vectors of {self.dim} column{'s' * (self.dim != 1)}{columns}"

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.dim,)

    @property
    def unit(self) -> str:
        return "nats"

    def check(self, x: Tensor) -> None:
        self.check_shape(x)
        if not x.is_floating_point():
            raise ValueError(f"vectors must be floating point, got {x.dtype}; convert with .float()")
        bad = (~torch.isfinite(x)).nonzero()
        if len(bad):
            row, column = bad[0].tolist()
            name = self.columns[column] if self.columns else str(column)
            raise ValueError(
                f"row {row}, column {name}: must be a finite number, got {x[row, column].item()}; drop or fill it"
            )

    def examples(self, n: int, generator: torch.Generator) -> Tensor:
        return torch.randn(n, self.dim, generator=generator)

    def support(self, points: int, reach: float) -> tuple[Tensor, float]:
        if self.dim > 2:
            raise ValueError(f"a grid must be over 1 or 2 columns, got {self.dim}")
        axis = torch.linspace(-reach, reach, points)
        return torch.cartesian_prod(*[axis] * self.dim).reshape(-1, self.dim), (2 * reach / (points - 1)) ** self.dim

    def check_training(self, x: Tensor) -> None:
        constant = (x.amax(0) == x.amin(0)).nonzero().flatten().tolist()
        if constant:
            column = self.columns[constant[0]] if self.columns else str(constant[0])
            raise ValueError(
                f"column {column} must vary to have a density, got {x[0, constant[0]].item():g} in every training row; "
                "drop it"
            )

    def notes(self, x: Tensor) -> tuple[str, ...]:
        """A line that names the columns in which values repeat, see :meth:`tied`, if there are any.

        A density can grow without bound where values repeat, so "exact" log-likelihoods of such columns are not
        comparable.
        """
        tied = self.tied(x)
        if not tied:
            return ()
        columns = self.columns or numbered(self.dim)
        names = [f"{columns[i]} ({100 * share:.0f} % of rows)" for i, share in tied.items()]
        return (
            f"tied values in {shortened(names)}: a density can grow without bound where values repeat, "
            "so log-likelihoods of these data are not comparable; read them as a table, whose rows have masses",
        )

    @staticmethod
    def tied(x: Tensor) -> dict[int, float]:
        """The columns in which one row in twenty or more shares its value with another, and the share of such rows.

        At most 2,000 rows are examined. Fewer than 20 are too few.
        """
        if len(x) < FEWEST:
            return {}
        rows = x[:: max(len(x) // 2000, 1)][:2000].sort(0).values
        same = rows[1:] == rows[:-1]
        gap = torch.zeros_like(same[:1])
        shares = (torch.cat([gap, same]) | torch.cat([same, gap])).double().mean(0).tolist()
        return {i: share for i, share in enumerate(shares) if share >= 0.05}

    def fits(self, other: Space) -> bool:
        unnamed = ((), numbered(self.dim))
        named_alike = other.columns == self.columns or other.columns in unnamed or self.columns in unnamed
        return super().fits(other) and named_alike

    def conform(self, x: Tensor, source: Space | None = None) -> Tensor:
        return super().conform(x, source).float()

    def arranged(self, x: Tensor) -> Tensor:
        """Numbers of one column without an axis for it, too."""
        return x.unsqueeze(-1) if self.dim == 1 and x.shape[-1:] != (1,) else x

    def measures(self, x: Tensor, references: References, features: str | None = None) -> Iterator[Measurement]:
        self.check_features(features)
        return by_features(x, references, StandardisedColumns(references.all_train))

    def quantities(self, x: Tensor) -> tuple[tuple[str, ...], Tensor]:
        return self.columns or numbered(self.dim), x

    def picture_of_one(self, x: Tensor) -> Rows:
        names = self.columns or numbered(self.dim)
        rows = tuple((name, f"{value:.4g}") for name, value in zip(names, x.tolist(), strict=True))
        return Rows(("column", "value"), rows[:LINES])

    def picture_of_few(self, x: Tensor, references: References) -> Cloud:
        """Points over those of the data."""
        return self.picture(x, references)

    def picture_of_draws(self, draws: Tensor, truth: Tensor, data: Tensor) -> Strips:
        return Strips.of(self.columns or numbered(self.dim), draws[:, :LINES], truth[:LINES], data[:, :LINES])

    def picture(self, x: Tensor, references: References | None = None, columns: int | None = None) -> Cloud:
        plane = Plane(x if references is None else references.all_train, self.columns)
        behind = x[:0] if references is None else references.test
        return Cloud(plane(x[:SHOWN]), plane.box, plane.names, plane(behind[:SHOWN]))


@final
class Plane:
    """A plane that shows vectors: the columns themselves if there are two, else two principal components."""

    def __init__(self, x: Tensor, names: tuple[str, ...] = ()) -> None:
        x = x.double()
        self.mean, self.scale = x.mean(0), x.std(0).clamp(min=1e-12)
        if x.shape[1] == 2:
            self.axes = torch.eye(2).double() * self.scale
            self.names = (names[0], names[1]) if names else ("column 0", "column 1")
            self.shift = self.mean
        else:
            z = (x - self.mean) / self.scale
            self.axes = torch.linalg.eigh(torch.cov(z.T).reshape(x.shape[1], -1))[1][:, -2:].flip(1)
            self.axes = torch.cat([self.axes, torch.zeros(len(self.axes), 2 - self.axes.shape[1])], 1)
            self.names = ("first principal component", "second principal component" if x.shape[1] > 1 else "")
            self.shift = torch.zeros(2).double()
        flat = self(x)
        pad = 0.06 * (flat.amax(0) - flat.amin(0)).clamp(min=1e-9)
        low, high = flat.amin(0) - pad, flat.amax(0) + pad
        self.box = (low[0].item(), high[0].item(), low[1].item(), high[1].item())

    def __call__(self, x: Tensor) -> Tensor:
        """Coordinates ``(n, 2)``."""
        return ((x.double() - self.mean) / self.scale) @ self.axes + self.shift
