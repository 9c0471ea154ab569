"""The guarantee of differential privacy that a caller asks for. Torch-free."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, final

__all__ = ["Guarantee", "guarantee_words", "parse_guarantee"]

LARGEST = 1e-5
"""The largest delta that is taken where none is given."""


@final
@dataclass(frozen=True)
class Guarantee:
    """``P(M(D) in S) <= exp(epsilon) P(M(D') in S) + delta`` for data ``D`` and ``D'`` that differ in one row.

    In ``D'`` the row takes part in no count and in no batch. The number of rows is public. Dwork, Roth 2014
    (https://doi.org/10.1561/0400000042).

    Attributes:
        epsilon: the most that the log-odds of any guess about the row can grow, in nats.
        delta: the probability with which they may grow by more. ``None``: by the number of rows.

    Raises:
        ValueError: for an epsilon that is not positive, or a delta outside of (0, 1).
    """

    epsilon: float
    delta: float | None = None

    def __post_init__(self) -> None:
        if not 0 < self.epsilon < math.inf:
            raise ValueError(f"epsilon must be positive and finite, got {self.epsilon}")
        if self.delta is not None and not 0 < self.delta < 1:
            raise ValueError(f"delta must be between 0 and 1, got {self.delta}")

    def for_rows(self, rows: int) -> Guarantee:
        """The same with a delta: the given one, else the largest power of ten of at most ``1 / (2 rows)`` and 1e-5."""
        largest = min(LARGEST, 10.0 ** math.floor(-math.log10(2 * max(rows, 1))))
        return self if self.delta is not None else replace(self, delta=largest)

    def __str__(self) -> str:
        delta = "" if self.delta is None else f",delta={self.delta:g}"
        return f"epsilon={self.epsilon:g}{delta}"


def parse_guarantee(text: str | float | Guarantee) -> Guarantee:
    """Read ``epsilon=4``, ``epsilon=4,delta=1e-5`` or a number, which is epsilon.

    Raises:
        ValueError: if the text is not understood.
    """
    if isinstance(text, Guarantee):
        return text
    if isinstance(text, (int, float)):
        return Guarantee(float(text))
    parts = [part.partition("=") for part in text.replace(" ", "").split(",")]
    names = [name for name, _, _ in parts]
    try:
        values = {name: float(value) for name, _, value in parts}
    except ValueError:
        values = {}
    if not values or names not in (["epsilon"], ["epsilon", "delta"], ["delta", "epsilon"]):
        raise ValueError(f"private must be like epsilon=4 or epsilon=4,delta=1e-5, got {text!r}")
    return Guarantee(**values)


def guarantee_words(card: Mapping[str, Any]) -> str:
    """The privacy of rows that a card records, in a sentence. Empty for a training without a guarantee."""
    record = card.get("privacy")
    if not isinstance(record, Mapping):
        return ""
    spent = f"{record['spent']:.4g} of epsilon {record['epsilon']:g} is spent at delta {record['delta']:g}"
    return f"differential privacy of {record['unit']}: {spent}; public: {', '.join(record['public'])}"
