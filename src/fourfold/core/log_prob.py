"""Typed log-probabilities: numbers with their kind (exact, a bound or an estimate)."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from fourfold.maths.uncertainty import pooled_error
from fourfold.vocabulary import Kind

__all__ = ["LogProb", "no_likelihood"]

_UNITS = {
    "bits/dim": "bits_per_dim",
    "bits/sample": "bits_per_dim",
    "bits/byte": "bits_per_byte",
    "nats/char": "nats_per_token",
    "nats/row": "nats_per_row",
    "nats": "nats",
}


@dataclass(frozen=True)
class LogProb:
    """Log-probabilities in nats per raw example, with the kind of number they are.

    Attributes:
        nats: ``(B,)``.
        kind: exact, lower bound, estimate, estimated bound, unnormalised, none.
        dims: scalar values per example, the divisor of "per dimension".
        variance: ``(B,)`` unbiased estimate of the variance of each figure, from its own draws. ``None`` where nothing
            is random, NaN where it is unknown (one draw).
        draws: how many probes, codes or noises were drawn for each example (0 if none).
        evaluations: network evaluations per example.
        note: one line that says how the figures were computed and how the codec changed the kind.
        freedom: degrees of freedom of ``variance``. Infinite where it is known.
        solver_error: the amount by which the solver's steps make the figures too high, in nats: the mean over a few
            examples, estimated from fewer steps. NaN without a solver. ``std_error`` does not include it.
        half_steps: the amount by which the same figures are higher at half the steps. The error is smaller if the
            solver converges.
        converged: whether the figures at fewer steps approach these. If not, ``solver_error`` has no sign, and the
            error may be larger.
        byte_counts: bytes of UTF-8 in each example of a text, ``(B,)``, the divisor of "per byte", else ``None``.
        row_counts: rows of each sequence, ``(B,)``, the divisor of "per row", else ``None``.
        terms: ``(B, L)`` nats of each value given the earlier ones, which add up to ``nats``, where they are known.
        outside: which examples hold a value that the space does not have, bool ``(B,)``. ``None``: no one does. Their
            probability is 0 under every model of the space, and means leave them out.
    """

    nats: Tensor
    kind: Kind
    dims: int = 1
    variance: Tensor | None = None
    draws: int = 0
    evaluations: float = 0.0
    note: str = ""
    freedom: float = math.inf
    solver_error: float = math.nan
    half_steps: float = math.nan
    converged: bool = True
    byte_counts: Tensor | None = None
    row_counts: Tensor | None = None
    terms: Tensor | None = None
    outside: Tensor | None = None

    @classmethod
    def of_draws(cls, draws: Tensor, kind: Kind, note: str = "") -> LogProb:
        """The mean of independent draws ``(n, B)`` and the variance of that mean. NaN for one draw."""
        n = len(draws)
        variance = draws.var(0) / n if n > 1 else torch.full_like(draws[0], math.nan)
        return cls(draws.mean(0), kind, variance=variance, draws=n, note=note, freedom=max(n - 1, 1))

    @classmethod
    def of_whole_draws(cls, draws: Sequence[LogProb]) -> LogProb:
        """The mean of likelihoods that were drawn with their codec. Their spread alone is the error."""
        n, first = len(draws), draws[0]
        mean = cls.of_draws(torch.stack([draw.nats for draw in draws]), first.kind)
        note = f"{first.note}; {n} draw{'s' * (n > 1)} of the codec for each example".lstrip("; ")
        error, half = (sum(getattr(draw, name) for draw in draws) / n for name in ("solver_error", "half_steps"))
        sure = all(draw.converged for draw in draws)
        mean = dataclasses.replace(mean, draws=n * max(first.draws, 1), note=note, converged=sure)
        return dataclasses.replace(mean, solver_error=error, half_steps=half)

    @property
    def std_error(self) -> Tensor | None:
        """``(B,)``: two standard errors on either side hold 95 % of cases. ``None`` where nothing is random.

        A few draws determine their own spread poorly. So variances are pooled over all examples of this object, and
        Student's t widens the error (:func:`fourfold.maths.uncertainty.pooled_error`). It exceeds the root of
        ``variance`` where examples are few.
        """
        return None if self.variance is None else pooled_error(self.variance, self.freedom)

    def __len__(self) -> int:
        return len(self.nats)

    def numpy(self) -> np.ndarray:
        """The nats as an array, ``(B,)``."""
        return self.nats.detach().cpu().numpy()

    def __array__(self, dtype: np.typing.DTypeLike | None = None, copy: bool | None = None) -> np.ndarray:
        """The nats, for ``np.asarray``."""
        return np.array(self.nats.detach().cpu(), dtype=dtype, copy=copy)

    @property
    def inside(self) -> Tensor:
        """True for examples that hold only values of the space, bool ``(B,)``: those in a mean."""
        return torch.ones(len(self), dtype=torch.bool) if self.outside is None else ~self.outside

    @property
    def count_words(self) -> str:
        """The number of examples in a mean, in words such as ``296 of 300``."""
        n = int(self.inside.sum())
        return str(n) if n == len(self) else f"{n} of {len(self)}"

    @property
    def bits_per_dim(self) -> Tensor:
        """``-log2 p(x) / dims``, ``(B,)``."""
        return -self.nats / (self.dims * math.log(2.0))

    @property
    def nats_per_token(self) -> Tensor:
        """``-log p(x) / dims``, ``(B,)``: for text, where a dimension is a token."""
        return -self.nats / self.dims

    @property
    def bits_per_byte(self) -> Tensor:
        """``-log2 p(x) / bytes``, ``(B,)``: for text, independent of its tokens."""
        return self.bits_per_dim if self.byte_counts is None else -self.nats / (self.byte_counts * math.log(2.0))

    @property
    def nats_per_row(self) -> Tensor:
        """``log p(x) / rows``, ``(B,)``: for sequences of rows. Elsewhere an example is one row."""
        return self.nats if self.row_counts is None else self.nats / self.row_counts

    def mean_in(self, unit: str) -> tuple[float, float]:
        """The mean over examples in a unit and its standard error, NaN for one example.

        Per byte and per row, it is the ratio of both sums, so that each example is weighted by its length. Examples
        with a value that the space does not have are left out: see :attr:`outside`.
        """
        values, weights = self.in_unit(unit).double()[self.inside], self.weights_in(unit)
        n = len(values)
        mean = (weights * values).mean()
        error = (weights * (values - mean)).std().item() / math.sqrt(n) if n > 1 else math.nan
        return mean.item(), error

    def weights_in(self, unit: str) -> Tensor:
        """The weight of each example of :attr:`inside` in :meth:`mean_in`, ``(n,)`` float64: 1 on average."""
        counts = {"bits/byte": self.byte_counts, "nats/row": self.row_counts}.get(unit)
        lengths = (torch.ones(len(self)) if counts is None else counts).double()[self.inside]
        return lengths / lengths.mean()

    def mean(self) -> tuple[float, float]:
        """The mean over examples in nats, and its standard error (spread of examples; estimation error included)."""
        return self.mean_in("nats")

    def in_unit(self, unit: str) -> Tensor:
        """Per-example values in ``bits/dim``, ``bits/sample``, ``nats/char``, ``bits/byte``, ``nats/row`` or ``nats``.

        Raises:
            ValueError: for another unit.
        """
        if unit not in _UNITS:
            raise ValueError(f"unit must be one of {', '.join(_UNITS)}, got {unit!r}")
        value: Tensor = getattr(self, _UNITS[unit])
        return value

    def note_in(self, unit: str = "nats") -> str:
        """The note in one line, with the number of examples that a mean leaves out and the solver's error in a unit."""
        return "; ".join(part for part in (self.note, self.remainder(), self._solved(unit)) if part)

    def _solved(self, unit: str) -> str:
        """The error of a solver in a unit. Empty where there is none."""
        if math.isnan(self.solver_error) and self.converged:
            return ""
        errors = torch.tensor([self.solver_error, self.half_steps])
        error, half = dataclasses.replace(self, nats=errors).in_unit(unit).tolist()
        if self.converged:
            return f"the solver's error is about {error:+.2g} {unit} (half the steps change it by {half:+.2g})"
        if math.isnan(error):
            return "the solver's error is unknown: take more steps"
        return f"the solver has not converged: its error may be {abs(error):.2g} {unit} or more; take more steps"

    def remainder(self, nouns: str = "examples") -> str:
        """The number of examples that a mean leaves out, with the reason. Empty if there are none."""
        n = len(self) - int(self.inside.sum())
        verb = "has a value" if n == 1 else "have values"
        why = f"{verb} that the model cannot draw: probability 0, left out of the mean"
        return f"{n:,} of {len(self):,} {nouns} {why}" if n else ""

    @classmethod
    def cat(cls, parts: Sequence[LogProb]) -> LogProb:
        """Join log-probabilities of batches. All must be of one kind.

        Raises:
            ValueError: for no parts or for several kinds.
        """
        kinds = [str(part.kind) for part in parts]
        if len({*kinds}) != 1:
            raise ValueError(f"log-probabilities must be of one kind to be joined, got {kinds}")

        def concatenated(name: str) -> Tensor | None:
            values = [value for part in parts if (value := getattr(part, name)) is not None]
            return torch.cat(values) if len(values) == len(parts) else None

        def mean(name: str) -> float:
            return sum(getattr(part, name) * len(part) for part in parts) / max(sum(map(len, parts)), 1)

        return dataclasses.replace(
            parts[0],
            nats=torch.cat([part.nats for part in parts]),
            variance=concatenated("variance"),
            byte_counts=concatenated("byte_counts"),
            row_counts=concatenated("row_counts"),
            terms=concatenated("terms"),
            outside=concatenated("outside"),
            evaluations=mean("evaluations"),
            freedom=mean("freedom"),
            solver_error=mean("solver_error"),
            half_steps=mean("half_steps"),
            converged=all(part.converged for part in parts),
        )


def no_likelihood(n: int, reason: str) -> LogProb:
    """The result of a model without a density: NaN for each of ``n`` examples, kind ``none``, and the reason."""
    return LogProb(torch.full((n,), math.nan), Kind.NONE, note=reason)
