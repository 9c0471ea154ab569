"""A data set made of a source: checked, split by a seed, and with its conditions in the space."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from fourfold.core import Batch
from fourfold.data.dataset import Dataset, digest
from fourfold.data.duplicates import duplicate_notes, without_duplicates
from fourfold.data.errors import DataError, option
from fourfold.data.source import Source
from fourfold.data.splits import FEWEST, Split, fractions_of, split
from fourfold.data.stored import Stored, Streamed, edges_within, example_bytes, random_rows
from fourfold.settings.data import DataOptions

__all__ = ["assemble", "assemble_folds"]

SAMPLE = 1 << 25
"""Bytes of a held-out part, or of the sample of training examples: if that is few examples, :data:`FEW` of them."""
FEW = 2048


def assemble_folds(name: str, source: Source | Stored, options: DataOptions, count: int) -> list[Dataset]:
    """:func:`assemble` for each of so many parts, which is held out.

    Raises:
        DataError: for data that cannot be cut so.
    """
    if not isinstance(source, Source):
        raise DataError(f"{name}: folds must be left out for examples that stay in their files, got {count}")
    reason = ""
    if source.space.window is not None:
        reason = "a text or a series, whose parts follow one another"
    elif source.test:
        reason = f"data with an official test set, of {source.test:,} examples"
    elif options.fractions:
        reason = f"{option('fractions')}, which cut the data once"
    if reason:
        raise DataError(f"{name}: folds must be left out for {reason}, got {count}")
    if not 2 <= count <= len(source.x) // 2:
        raise DataError(f"{name}: folds must be 2 to {len(source.x) // 2}, half the examples, got {count}")
    copies = (replace(source, x=source.x.clone()) for _ in range(count))  # large data is reordered in its place
    return [assemble(name, copy, options, (place, count)) for place, copy in enumerate(copies)]


def assemble(name: str, source: Source | Stored, options: DataOptions, fold: tuple[int, int] | None = None) -> Dataset:
    """Check a source, split it by its seed, and, for conditional data, name its classes in the space.

    Stored examples stay in their files, but the held-out ones and a sample of the training examples are loaded.
    Held-out parts have the share of ``fractions`` if these are given. By default a tenth each, but no more than
    :data:`SAMPLE` bytes or :data:`FEW` examples.

    Args:
        name: of the data.
        source: of its examples.
        options: the settings of reading.
        fold: the place of the part that is held out, and the number of parts. The digest is then that of the part.

    Raises:
        DataError: for missing labels of conditional data, too few examples, one that cannot be read, or values outside
            the space.
    """
    if isinstance(source, Source):
        parts = _of_memory(name, source, options, fold)
    else:
        parts = _of_files(name, source, options)
    try:
        space = parts.source.space.conditioned_on(parts.source.given if options.conditional else None)
        space.check_training(parts.train.x)
    except ValueError as error:
        raise DataError(f"{name}: {error}") from None
    return Dataset(
        name=name,
        space=space,
        train=parts.train,
        validation=parts.validation,
        test=parts.test,
        digest=parts.digest,
        source=parts.source.where,
        skipped=parts.source.skipped,
        density=parts.source.density,
        given=parts.source.given,
        seed=options.seed,
        notes=(*parts.source.notes, *space.notes(parts.train.x), *parts.notes),
        columns=parts.source.columns,
        streamed=parts.streamed,
        statistics=parts.source.statistics,
    )


@dataclass(frozen=True)
class _Parts:
    """A source as its training examples describe it, its splits, its digest, the examples that stay in files, notes."""

    source: Source
    train: Split
    validation: Split
    test: Split
    digest: str
    streamed: Streamed | None = None
    notes: tuple[str, ...] = ()


# --- examples in memory -----------------------------------------------------------------------------------------------


def _of_memory(name: str, source: Source, options: DataOptions, fold: tuple[int, int] | None) -> _Parts:
    source = without_duplicates(name, source) if options.deduplicate else source
    _check_labels(name, source, options)
    sha = source.digest or digest(source.x, source.cond)
    sha = sha if fold is None else hashlib.sha256(f"{sha}, part {fold}".encode()).hexdigest()
    source, (train, validation, test) = split(name, source, options, fold)
    notes = () if options.deduplicate else duplicate_notes(source.space, train.x, test.x)
    return _Parts(source, train, validation, test, sha, notes=notes)


def _check_labels(name: str, source: Source, options: DataOptions) -> None:
    _check_conditional(name, source.cond is not None, source.hint, options)
    if source.cond is not None and len(source.cond) != len(source.x):
        raise DataError(f"{name}: must have {len(source.x)} conditions, one for each example, got {len(source.cond)}")
    classes = 0 if source.given is None else len(source.given.names)
    if classes > max(len(source.x) // 2, 1):
        raise DataError(f"{name}: labels must repeat, got {classes} different ones for {len(source.x)}: choose others")


def _check_conditional(name: str, labelled: bool, hint: str, options: DataOptions) -> None:
    if options.conditional and not labelled:
        raise DataError(f"{name} must have labels to be conditional on, got none: {hint}")


# --- examples in files ------------------------------------------------------------------------------------------------


def _of_files(name: str, stored: Stored, options: DataOptions) -> _Parts:
    _check_conditional(name, stored.given is not None, stored.hint, options)
    if options.deduplicate:
        raise DataError(f"{name}: {option('deduplicate', True)} must be left out for examples that stay in files")
    if len(stored) < FEWEST:
        raise DataError(f"{name}: examples must be at least {FEWEST}, got {len(stored)}")
    parts, held_out = _draw_rows(stored, options)
    skipped: tuple[str, ...] = ()
    splits = []
    for rows in parts:
        x, rows, lines = stored.examples(rows, f"give smaller {option('fractions')}")
        splits.append(Split(x, stored.conditions(rows) if options.conditional else None))
        skipped += lines
    train = splits[-1]
    streamed = Streamed(stored, held_out, options.conditional, Batch(train.x, train.cond), _reading(options))
    source = stored.source(train.x, train.cond, skipped)
    notes = duplicate_notes(source.space, train.x, splits[-2].x, "leave repeats out of the files")  # at least so many
    return _Parts(source, train, splits[0], splits[-2], _digest(stored), streamed, notes)


def _draw_rows(stored: Stored, options: DataOptions) -> tuple[list[np.ndarray], np.ndarray]:
    """The rows of validation, test if it is another part, and a sample of training, and those not trained on, sorted.

    An official test set is at the end of the examples, and none of it is among the latter.
    """
    generator = np.random.default_rng(options.seed)
    pool = len(stored) - stored.official
    size = example_bytes(stored.space)
    most = max(SAMPLE // size, min(FEW, 8 * SAMPLE // size), 1)
    counts = [max(int(share * pool), 1) for share in fractions_of(options, (0.8, 0.1, 0.1))[1:]]
    counts = counts if options.fractions else [min(count, most) for count in counts]
    sample = min(most, pool - sum(counts))
    rows = random_rows(stored, edges_within(stored.edges, 0, pool), generator, sum(counts) + sample)
    test = []
    if stored.official:
        last = edges_within(stored.edges, pool, len(stored))
        test = [random_rows(stored, last, generator, min(most, stored.official))[:most]]
        counts = counts[:1]
    *held_out, train = np.split(rows[: sum(counts) + sample], np.cumsum(counts))
    return [*held_out, *test, train], np.sort(np.concatenate(held_out))


def _reading(options: DataOptions) -> dict[str, Any]:
    """The settings with which another process reads the same."""
    return {name: value for name, value in options.changed().items() if name != "space"} | {"stream": True}


def _digest(stored: Stored) -> str:
    if stored.cond is None:
        return stored.digest()
    return hashlib.sha256(stored.digest().encode() + stored.cond.numpy().tobytes()).hexdigest()
