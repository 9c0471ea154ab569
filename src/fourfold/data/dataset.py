"""Data sets: a space, three seeded splits and a digest that names the data to the bit."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from fourfold.core import Batch, Space
from fourfold.data.source import Density
from fourfold.data.splits import Split
from fourfold.output import notebook

if TYPE_CHECKING:
    from fourfold.data.schema import Inferred
    from fourfold.data.stored import Streamed
    from fourfold.privacy import Protection

__all__ = [
    "Dataset",
    "Units",
    "describe",
    "describe_record",
    "digest",
]


@dataclass(frozen=True)
class Units:
    """The units of privacy of training examples, of which one may have several or none.

    Attributes:
        protection: how they are protected.
        of: the unit of each training example, ``(N,)``.
        count: how many units there are, which is public.
    """

    protection: Protection
    of: npt.NDArray[np.int64]
    count: int


@dataclass(frozen=True)
class Dataset:
    """A space and three splits.

    Attributes:
        name: the built-in name, or the path.
        space: the space of one example.
        train, validation, test: the splits.
        digest: SHA-256 of all examples, labels and captions in the order of the source, whatever the seed.
        source: where the data came from, in words.
        skipped: files left out because they could not be read, with the reason.
        density: the exact density of sampled sets, where it is known.
        given: the space of the conditions that the source has, also where the set was loaded unconditionally.
        seed: what the split was drawn with.
        notes: what reading changed (such as images that were resized), and which columns hold tied values.
        columns: what each column of a table was inferred to be, and why.
        streamed: all training examples, if they stay in their files. ``train`` is then a sample of them.
        options: the arguments with which :func:`fourfold.load` loads it again, besides name and seed. Arrays are not
            among them.
        statistics: examples from which a codec and an estimand take their statistics, in the place of training
            examples. ``None``: they take those.
        units: of the training examples, if these were read under a guarantee of privacy for units of several examples.
            A training on them then keeps it.
    """

    name: str
    space: Space
    train: Split
    validation: Split
    test: Split
    digest: str
    source: str
    skipped: tuple[str, ...] = ()
    density: Density | None = None
    given: Space | None = None
    seed: int = 0
    notes: tuple[str, ...] = ()
    columns: tuple[Inferred, ...] = ()
    streamed: Streamed | None = None
    options: Mapping[str, Any] = field(default_factory=dict, repr=False)
    statistics: Batch | None = field(default=None, repr=False)
    units: Units | None = field(default=None, repr=False)

    def __repr__(self) -> str:
        return f"Dataset({self.name!r}: {self.space}, {_counts(self)})"

    def __str__(self) -> str:
        return describe(self)

    def _repr_html_(self) -> str:
        """The text of ``fourfold data``, for notebooks. It shows no example."""
        rows = [*_facts(self), *(("note", note) for note in self.notes), *(("skipped", file) for file in self.skipped)]
        cells = [
            (column.column.name, column.kind, _percent(column.missing), column.detail, column.reason)
            for column in self.columns
        ]
        columns = [notebook.grid([("column", "kind", "missing", "values", "why"), *cells])] if cells else []
        return notebook.block(f"{self.name}: {self.space}", notebook.facts(rows), *columns)

    @property
    def examples(self) -> int:
        """The number of training examples, in memory or streamed."""
        return len(self.train if self.streamed is None else self.streamed)

    def record(self) -> dict[str, Any]:
        """The record of the data that a run folder keeps, as a JSON value."""
        return {
            "name": self.name,
            "source": self.source,
            "digest": self.digest,
            "seed": self.seed,
            "train": self.examples if self.units is None else self.units.count,
            "validation": len(self.validation),
            "test": len(self.test),
            "skipped": list(self.skipped),
            "notes": list(self.notes),
            **({} if self.streamed is None else {"streamed": True}),
        }


def digest(x: Tensor, labels: Tensor | None = None) -> str:
    """SHA-256 of dtype, shape and values of the examples and their labels or captions, in hexadecimal.

    A stream of ids counts as int64 however it is stored, so that a text keeps its digest.
    """
    sha = hashlib.sha256()
    for tensor in (x,) if labels is None else (x, labels):
        kind = torch.long if tensor.ndim == 1 and not tensor.is_floating_point() else tensor.dtype
        sha.update(f"{kind}{tuple(tensor.shape)}".encode())
        for part in torch.split(tensor, 4096 if tensor.ndim > 1 else 1 << 20):
            sha.update(np.ascontiguousarray(part.to(kind).numpy()).tobytes())
    return sha.hexdigest()


# --- in words ---------------------------------------------------------------------------------------------------------


def describe(dataset: Dataset) -> str:
    """A short text: space, counts, splits, classes, digest, memory."""
    given, cond = dataset.space.given, dataset.train.cond
    examples = [] if given is None or cond is None or given.columns else _examples_of(given, cond[:4])
    rows = [*_facts(dataset), *examples, *(("note", note) for note in dataset.notes)]
    rows += [("skipped", file) for file in dataset.skipped]
    return "\n".join([f"{dataset.name}: {dataset.space}", *(f"  {name:<10} {words}" for name, words in rows)])


def _facts(dataset: Dataset) -> list[tuple[str, str]]:
    """A description of the data that shows no example."""
    splits = (dataset.train, dataset.validation, dataset.test)
    storages = {s.x.untyped_storage().data_ptr(): s.x.untyped_storage().nbytes() for s in splits}
    return [
        ("source", dataset.source),
        (dataset.space.item_name, f"{_counts(dataset)} (seed {dataset.seed})"),
        ("conditions", "none" if dataset.given is None else str(dataset.given)),
        ("scored in", dataset.space.unit + ("; the exact density is known" if dataset.density else "")),
        ("memory", f"{sum(storages.values()) / 2**20:.1f} MiB"),
        ("sha256", dataset.digest),
    ]


def _counts(dataset: Dataset) -> str:
    sizes = (dataset.examples, len(dataset.validation), len(dataset.test))
    return ", ".join(f"{n:,} {word}" for n, word in zip(sizes, ("train", "validation", "test"), strict=True))


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %" if share else ""


def describe_record(dataset: Dataset) -> dict[str, Any]:
    """The same as a JSON value."""
    splits = {"train": dataset.examples, "validation": len(dataset.validation), "test": len(dataset.test)}
    return {
        "name": dataset.name,
        "space": str(dataset.space),
        "source": str(dataset.source),
        **splits,
        "seed": dataset.seed,
        "given": None if dataset.given is None else str(dataset.given),
        "unit": dataset.space.unit,
        "sha256": dataset.digest,
        "notes": list(dataset.notes),
        **({"columns": [column.record() for column in dataset.columns]} if dataset.columns else {}),
        "skipped": [str(file) for file in dataset.skipped],
    }


def _examples_of(given: Space, cond: Tensor) -> list[tuple[str, str]]:
    """Some conditions, where they are read as lines of text."""
    lines = given.lines(cond)
    return [] if lines is None else [("", f"{', '.join(map(repr, lines.splitlines()[: len(cond)]))}, ...")]
