"""What a reader is asked, and what it gives: all examples of a source, before they are split."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor

from fourfold.core import Space
from fourfold.data.errors import DataError, option

if TYPE_CHECKING:
    from fourfold.data.schema import Inferred

__all__ = ["Density", "Options", "Source"]


class Density(ABC):
    """The exact density a sampled set was drawn from."""

    @abstractmethod
    def log_prob(self, x: Tensor, cond: Tensor | None = None) -> Tensor:
        """``log p(x)`` or ``log p(x | cond)`` in nats of the raw example, ``(B,)`` float64."""


@dataclass(frozen=True)
class Options:
    """The arguments of :func:`fourfold.data.load`; see there."""

    seed: int = 0
    data_dir: str | None = None
    conditional: bool = False
    skip_bad: bool = False
    limit: int | None = None
    labels: str | np.ndarray | None = None
    length: int | None = None
    fractions: tuple[float, ...] | None = None
    size: tuple[int, int] | None = None
    channels: int | None = None
    rate: int | None = None
    seconds: float | None = None
    levels: int | None = None
    tokens: str | None = None
    text: str | None = None
    space: Space | None = None
    as_table: bool | None = None
    schema: str | None = None
    header: bool | None = None
    query: str | None = None
    target: str | None = None
    group: str | None = None
    order: str | None = None
    stream: bool | None = None

    def without(self, names: Sequence[str]) -> Options:
        """The same arguments, but for some that have their defaults of ``None``."""
        nothing: dict[str, Any] = dict.fromkeys(names)
        return replace(self, **nothing)

    def only(self, what: str, *used: str) -> None:
        """Refuse settings that were given and mean nothing for this kind of data."""
        tables = ("schema", "header", "query", "target", "group", "order")
        for name in ("labels", "size", "channels", "rate", "seconds", "levels", "tokens", "text", *tables, "stream"):
            value = getattr(self, name)
            if value is not None and value is not False and name not in used:
                raise DataError(f"{name} means nothing for {what}: leave out {option(name, value)}")


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
        sounds: levels of the sound of each example, ``(N, L)`` int16 padded with 0, instead of labels.
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
        return next((one for one in (self.labels, self.captions, self.sounds) if one is not None), None)
