"""The result of a reader: all examples of a source, before they are split."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from torch import Tensor

from fourfold.core import Space

if TYPE_CHECKING:
    from fourfold.data.schema import Inferred

__all__ = ["Density", "Source"]


class Density(ABC):
    """The exact density a sampled set was drawn from."""

    @abstractmethod
    def log_prob(self, x: Tensor, cond: Tensor | None = None) -> Tensor:
        """``log p(x)`` or ``log p(x | cond)`` in nats of the raw example, ``(B,)`` float64."""


@dataclass(frozen=True)
class Source:
    """The result of a reader, before splitting.

    Attributes:
        x: all examples in the order of the source.
        space: their space, unconditional.
        where: where they came from, in words.
        labels: ``(N,)`` int64, or ``None``.
        class_names: names of the labels.
        test: how many examples at the end are an official test set.
        held_out: the validation share of everything else, where there is an official test set.
        skipped: files left out.
        density: exact density, if known.
        hint: the way out if labels are needed and missing.
        captions: bytes of a caption of each example, ``(N, L)`` int64 padded with -1, instead of labels.
        sounds: samples of the sound of each example, ``(N, L)`` int16 padded with 0, instead of labels.
        groups: ``(N,)`` int64: examples of one number are variants of one thing and come into one split.
        notes: what reading changed.
        columns: what each column of a table was inferred to be, and why.
        digest: the digest of the examples, where it is known already.
        schema: gives the source with the schema of its training examples alone, by their places in ``x``. Examples keep
            their order, and held-out ones may hold values that it does not have. ``None``: nothing is inferred.
    """

    x: Tensor
    space: Space
    where: str
    labels: Tensor | None = None
    class_names: tuple[str, ...] = ()
    test: int = 0
    held_out: float = 0.1
    skipped: tuple[str, ...] = ()
    density: Density | None = None
    hint: str = field(default="load it without conditional")
    captions: Tensor | None = None
    sounds: Tensor | None = None
    groups: Tensor | None = None
    notes: tuple[str, ...] = ()
    columns: tuple[Inferred, ...] = ()
    digest: str = ""
    schema: Callable[[Tensor], Source] | None = None

    @property
    def conditions(self) -> Tensor | None:
        """The conditions of examples: labels, captions or sounds."""
        return next(
            (condition for condition in (self.labels, self.captions, self.sounds) if condition is not None), None
        )
