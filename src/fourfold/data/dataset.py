"""Data sets: a space, three seeded splits and a digest that names the data to the bit."""

from __future__ import annotations

import hashlib
import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from fourfold.core import Space, decode_captions
from fourfold.data.errors import DataError
from fourfold.data.source import Density, Options, Source
from fourfold.output import notebook
from fourfold.output.printable import shortened

if TYPE_CHECKING:
    from fourfold.data.schema import Inferred
    from fourfold.data.stored import Streamed

__all__ = [
    "Dataset",
    "Split",
    "assemble",
    "chosen_rows",
    "describe",
    "describe_record",
    "digest",
    "fractions_of",
]

FEWEST = 20
"""Fewer examples than this cannot be split and learned from."""


LARGE = 1 << 26
"""From so many bytes on, data is reordered in place rather than copied."""


@dataclass(frozen=True)
class Split:
    """Raw examples ``(N, *shape)`` with labels ``(N,)`` or the bytes of captions ``(N, L)``.

    Of a text, ``x`` is its stream of ids, ``(N,)``, in the smallest type of integers; that of a large text is a mapped
    file. Of a series that is cut into windows, ``x`` has all of its rows.
    """

    x: Tensor
    cond: Tensor | None = None

    def __len__(self) -> int:
        return len(self.x)

    def __repr__(self) -> str:
        """The size, never values: they may be those of people."""
        conditions = "" if self.cond is None else f", conditions {tuple(self.cond.shape)}"
        return f"Split(x {tuple(self.x.shape)} {self.x.dtype}{conditions})"


@dataclass(frozen=True)
class Dataset:
    """A space and three splits.

    Attributes:
        name: the built-in name, or the path.
        space: what one example is.
        train, validation, test: the splits.
        digest: SHA-256 of all examples, labels and captions in the order of the source, whatever the seed.
        source: where the data came from, in words.
        skipped: files left out because they could not be read, with the reason.
        density: the exact density of sampled sets, where it is known.
        class_names: names of the labels, also where the set was loaded unconditionally.
        seed: what the split was drawn with.
        notes: what reading changed (such as images that were resized), and which columns hold tied values.
        columns: what each column of a table was inferred to be, and why.
        streamed: all training examples, if they stay in their files; ``train`` is then a sample of them.
        options: the arguments with which :func:`fourfold.load` loads it again, besides name and seed; arrays are not
            among them.
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
    class_names: tuple[str, ...] = ()
    seed: int = 0
    notes: tuple[str, ...] = ()
    columns: tuple[Inferred, ...] = ()
    streamed: Streamed | None = None
    options: Mapping[str, Any] = field(default_factory=dict, repr=False)

    def __repr__(self) -> str:
        return f"Dataset({self.name!r}: {self.space}, {_counts(self)})"

    def __str__(self) -> str:
        return describe(self)

    def _repr_html_(self) -> str:
        """What ``fourfold data`` shows, for notebooks; no example is among it."""
        rows = [*_facts(self), *(("note", note) for note in self.notes), *(("skipped", file) for file in self.skipped)]
        cells = [(one.column.name, one.kind, _percent(one.missing), one.detail, one.reason) for one in self.columns]
        columns = [notebook.grid([("column", "kind", "missing", "values", "why"), *cells])] if cells else []
        return notebook.block(f"{self.name}: {self.space}", notebook.facts(rows), *columns)

    @property
    def examples(self) -> int:
        """How many examples are trained on: those in memory, or those that are streamed."""
        return len(self.train if self.streamed is None else self.streamed)

    def record(self) -> dict[str, Any]:
        """The record of the data that a run folder keeps, as a JSON value."""
        return {
            "name": self.name,
            "source": self.source,
            "digest": self.digest,
            "seed": self.seed,
            "train": self.examples,
            "validation": len(self.validation),
            "test": len(self.test),
            "skipped": list(self.skipped),
            "notes": list(self.notes),
            **({} if self.streamed is None else {"streamed": True}),
        }


# --- digests and splits -----------------------------------------------------------------------------------------------


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


def assemble(name: str, source: Source, options: Options) -> Dataset:
    """Check a source, split it by its seed, and, for conditional data, name its classes in the space.

    Raises:
        DataError: for missing labels of conditional data, too few examples, or values outside the space.
    """
    _check_labels(name, source, options)
    sha = source.digest or digest(source.x, source.known)
    source, (train, validation, test) = _split(name, source, options)
    try:
        space = _conditioned(source, options)
        space.check_training(train.x)
    except ValueError as error:
        raise DataError(f"{name}: {error}") from None
    return Dataset(
        name,
        space,
        train,
        validation,
        test,
        sha,
        source.where,
        source.skipped,
        source.density,
        source.class_names,
        options.seed,
        (*source.notes, *space.notes(train.x)),
        source.columns,
    )


def _split(name: str, source: Source, options: Options) -> tuple[Source, Sequence[Split]]:
    """A source with the schema of its training examples, which held-out ones must not influence, and its splits."""
    if source.space.window is None:
        rows = _by_seed(name, source, options)
        source = source if source.schema is None else source.schema(rows[0])
        splits = _take(source, rows, options.conditional)
    else:
        parts = _by_position(name, source, options)
        source = source if source.schema is None else source.schema(torch.arange(parts[0].stop))
        splits = [Split(source.x[part]) for part in parts]
    return source, (splits[0], splits[1], splits[-1])


def _check_labels(name: str, source: Source, options: Options) -> None:
    if options.conditional and source.known is None:
        raise DataError(f"{name} has no labels to be conditional on: {source.hint}")
    if source.known is not None and len(source.known) != len(source.x):
        raise DataError(f"{name}: {len(source.known)} labels for {len(source.x)} examples: one label per example")
    if source.labels is not None and len(source.class_names) > max(len(source.x) // 2, 1):
        raise DataError(
            f"{name}: {len(source.class_names)} different labels for {len(source.x)} examples are not classes: "
            "choose another column or array of labels"
        )


def _conditioned(source: Source, options: Options) -> Space:
    """The space, with its classes or captions where the set is conditional."""
    if not options.conditional:
        return source.space
    if source.sounds is not None:
        return source.space.conditioned(sound=source.sounds.shape[1])
    if source.captions is not None:
        return source.space.conditioned(caption=source.captions.shape[1])
    return source.space.conditioned(source.class_names)


def fractions_of(options: Options, default: tuple[float, ...]) -> tuple[float, ...]:
    """The shares of train, validation and test; two shares mean that validation and test are the same examples."""
    shares = tuple(options.fractions or default)
    if len(shares) not in (2, 3) or min(shares) <= 0 or abs(sum(shares) - 1) > 1e-6:
        raise DataError(f"fractions {shares} are not two or three positive shares that add up to 1: (0.8, 0.1, 0.1)")
    return shares


def _cut(n: int, shares: Sequence[float]) -> list[slice]:
    """Slices of ``range(n)`` for the shares, cut at whole numbers of examples; each at least one long if possible."""
    edges = [0, *(math.floor(n * sum(shares[:i]) + 1e-9) for i in range(1, len(shares))), n]
    for i in range(len(shares) - 1, 0, -1):
        edges[i] = max(min(edges[i], edges[i + 1] - 1), 0)
    return [slice(a, b) for a, b in itertools.pairwise(edges)]


def _by_position(name: str, source: Source, options: Options) -> list[slice]:
    """Cut a stream by position: held-out parts come after the training part."""
    n = len(source.x[: options.limit])
    parts = _cut(n, fractions_of(options, (0.9, 0.05, 0.05)))
    shortest = min(part.stop - part.start for part in parts)
    window = source.space.window or 1
    if shortest < window:
        few = f"{n} {source.space.counted} leave a split of {shortest}, shorter than one window of {window}"
        kind = "text" if source.space.bytewise else "series"
        raise DataError(f"{name}: {few}: give a longer {kind} or a smaller length")
    return parts


def _by_seed(name: str, source: Source, options: Options) -> list[Tensor]:
    """Draw the rows of the splits: every class keeps its share in each; an official test set stays as it is."""
    generator = torch.Generator().manual_seed(options.seed)
    pool = len(source.x) - source.test
    keep = 1.0 if options.limit is None else min(options.limit / len(source.x), 1.0)
    labels = None if source.labels is None else source.labels[:pool]
    groups = None if source.groups is None else source.groups[:pool]
    order = _stratified(pool, labels, generator) if groups is None else _together(groups, generator)
    order = order[: round(pool * keep)]
    if len(order) < FEWEST:
        raise DataError(f"{name}: {len(order)} {source.space.counted} are too few: at least {FEWEST} are needed")
    shares = fractions_of(options, (0.8, 0.1, 0.1))
    if source.test:
        held = shares[1] / (shares[0] + shares[1]) if options.fractions else source.held_out
        shares = (1 - held, held)
    parts = _cut(len(order), shares)
    parts = parts if groups is None else _at_borders(name, parts, groups[order])
    rows = [_shuffled(order[part], generator) for part in parts]
    if source.test:
        rest = torch.randperm(source.test, generator=generator)[: max(round(source.test * keep), 1)]
        rows.append(pool + (rest if options.limit is not None else torch.arange(source.test)))
    return rows


def chosen_rows(n: int, options: Options, labels: Tensor | None = None) -> np.ndarray:
    """Which ``options.limit`` of ``n`` examples are used, ascending: drawn by the seed, each class in its share."""
    generator = torch.Generator().manual_seed(options.seed)
    return _stratified(n, labels, generator)[: options.limit].sort().values.numpy()


def _stratified(n: int, labels: Tensor | None, generator: torch.Generator) -> Tensor:
    """An order of ``range(n)`` in which every contiguous part holds each class in its share."""
    order = torch.randperm(n, generator=generator)
    if labels is None:
        return order
    place = torch.empty(n, dtype=torch.float64)
    for label in torch.unique(labels).tolist():
        members = order[labels[order] == label]
        offset = torch.rand((), generator=generator, dtype=torch.float64)
        place[members] = (torch.arange(len(members), dtype=torch.float64) + offset) / len(members)
    return place.argsort(stable=True)


def _together(groups: Tensor, generator: torch.Generator) -> Tensor:
    """An order of all examples in which groups follow one another at random, each whole."""
    _, ids = torch.unique(groups, return_inverse=True)
    place = torch.randperm(int(ids.max()) + 1, generator=generator)
    return place[ids].argsort(stable=True)


def _at_borders(name: str, parts: Sequence[slice], groups: Tensor) -> list[slice]:
    """Move every inner edge of the parts to the nearest border between two groups that leaves each part one."""
    borders = [*((groups[1:] != groups[:-1]).nonzero().flatten() + 1).tolist(), len(groups)]
    if len(borders) < len(parts):
        raise DataError(f"{name}: {len(borders)} groups of variants are too few for {len(parts)} splits: give more")
    edges, first = [0], 0
    for i, part in enumerate(parts[:-1], 2):
        choice = borders[first : len(borders) - len(parts) + i - 1]
        edges.append(min(choice, key=lambda border, stop=part.stop: abs(border - stop)))  # type: ignore[misc]
        first = borders.index(edges[-1]) + 1
    return [slice(a, b) for a, b in itertools.pairwise([*edges, len(groups)])]


def _shuffled(rows: Tensor, generator: torch.Generator) -> Tensor:
    return rows[torch.randperm(len(rows), generator=generator)]


def _take(source: Source, rows: Sequence[Tensor], conditional: bool) -> list[Split]:
    """The splits: copies of their rows, or, where the data is large and all of it is used, views of it reordered."""
    order = torch.cat(list(rows))
    known = source.known[order] if conditional and source.known is not None else None
    sizes = [len(part) for part in rows]
    cond: Sequence[Tensor | None] = [None] * len(sizes) if known is None else torch.split(known, sizes)
    large = len(order) == len(source.x) and source.x.nbytes > LARGE
    memory = _in_memory(source.x.numpy()) if large else None
    if memory is not None:
        reorder(memory, order.numpy())
        return [Split(x, c) for x, c in zip(torch.split(source.x, sizes), cond, strict=True)]
    return [Split(source.x[part], c) for part, c in zip(rows, cond, strict=True)]


def _in_memory(x: np.ndarray) -> np.ndarray | None:
    """A view of examples as rows of memory ``(N, D)``, or ``None`` where one does not lie whole after the other."""
    axes = np.argsort([-stride for stride in x.strides], kind="stable")  # channels may be last in memory
    laid = x.transpose(axes)
    return laid.reshape(len(x), -1) if axes[0] == 0 and laid.flags.c_contiguous else None


def reorder(rows: np.ndarray, order: np.ndarray) -> None:
    """``rows[:] = rows[order]`` for a permutation of ``(N, D)``, so many columns at once that a copy stays small."""
    width = max(LARGE // max(rows[:, :1].nbytes, 1), 1)
    for start in range(0, rows.shape[1], width):
        rows[:, start : start + width] = rows[order, start : start + width]


# --- in words ---------------------------------------------------------------------------------------------------------


def describe(dataset: Dataset) -> str:
    """A short text: space, counts, splits, classes, digest, memory."""
    captions = dataset.train.cond if dataset.space.caption is not None else None
    examples = [] if captions is None else [("captions", f"{_quoted(captions[:4])}, ...")]
    rows = [*_facts(dataset), *examples, *(("note", note) for note in dataset.notes)]
    rows += [("skipped", file) for file in dataset.skipped]
    return "\n".join([f"{dataset.name}: {dataset.space}", *(f"  {name:<10} {words}" for name, words in rows)])


def _facts(dataset: Dataset) -> list[tuple[str, str]]:
    """What can be said of the data without showing an example of it."""
    splits = (dataset.train, dataset.validation, dataset.test)
    storages = {s.x.untyped_storage().data_ptr(): s.x.untyped_storage().nbytes() for s in splits}
    classes = f"{len(dataset.class_names)}: {shortened(dataset.class_names)}" if dataset.class_names else "none"
    return [
        ("source", dataset.source),
        (dataset.space.counted, f"{_counts(dataset)} (seed {dataset.seed})"),
        *([("classes", classes)] if dataset.space.caption is None else []),
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
        "classes": list(dataset.class_names),
        "unit": dataset.space.unit,
        "sha256": dataset.digest,
        "notes": list(dataset.notes),
        **({"columns": [one.record() for one in dataset.columns]} if dataset.columns else {}),
        "skipped": [str(file) for file in dataset.skipped],
    }


def _quoted(captions: Tensor) -> str:
    return ", ".join(repr(caption) for caption in decode_captions(captions))
