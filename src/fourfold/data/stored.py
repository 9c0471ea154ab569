"""Examples that stay in their files: read by number, split by a seed, shuffled as a function of the step."""

from __future__ import annotations

import hashlib
import io
import math
import os
from abc import ABC, abstractmethod
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields
from pathlib import Path
from typing import Any, final

import numpy as np
import torch
from torch import Tensor

from fourfold.core import Batch, Space, encode_captions
from fourfold.data.captions import LONGEST, SHORTEST
from fourfold.data.dataset import FEWEST, Dataset, Split, fractions_of
from fourfold.data.errors import DataError, option
from fourfold.data.images import Format, ImageHeader, decode_into, format_of, header_of, notes_of
from fourfold.data.labels import encode_labels
from fourfold.data.memory import require
from fourfold.data.records import BLOCK, StoredRecords, digest_of, edges_of
from fourfold.data.source import Options, Source
from fourfold.spaces import Images

__all__ = ["Stored", "StoredArray", "StoredImages", "Streamed", "assemble_stored"]

POOL = 1 << 26
"""Bytes of blocks that are mixed with each other in an epoch."""
PROBED = 512
"""Images whose headers decide on the format of all."""
TOUCHED = 1 << 28
"""Bytes of blocks from which held-out examples and the sample of statistics are drawn, at most."""
SAMPLE = 1 << 25
"""Bytes of a held-out part, or of the sample of training examples: if that is few examples, :data:`FEW` of them."""
FEW = 2048


class Stored(ABC):
    """Raw examples that stay in files.

    Attributes:
        name: the file or folder, for messages.
        space: their space, unconditional.
        edges: ``(blocks + 1,)``, the first example of each block; the examples of a block lie together.
        block_bytes: the bytes of a block in its file, on average.
        official: how many examples at the end are an official test set.
        labels: ``(N,)`` int64, or ``None``.
        class_names: the names of the labels.
        caption: the bytes of the longest caption; ``None`` where there are none.
        where: where the examples come from, in words.
        notes: what reading changes.
        hint: the way out if labels are needed and missing.
    """

    name: str
    space: Space
    edges: np.ndarray
    block_bytes: float
    official: int = 0
    labels: Tensor | None = None
    class_names: tuple[str, ...] = ()
    caption: int | None = None
    where: str = ""
    notes: tuple[str, ...] = ()
    hint: str = "load it without conditional"

    def __len__(self) -> int:
        return int(self.edges[-1])

    @abstractmethod
    def select(self, rows: np.ndarray) -> tuple[Tensor, dict[int, str]]:
        """Raw examples ``(B, *shape)``, and the places in the batch of those that are skipped, each with its reason.

        Raises:
            DataError: for an example that cannot be read and is not skipped, with its file and place.
        """

    @abstractmethod
    def digest(self) -> str:
        """SHA-256 of sizes, names and a sample of the content, in hexadecimal."""

    def known(self, rows: np.ndarray) -> Tensor | None:
        """The labels ``(B,)`` or captions ``(B, L)`` of examples, if they have some."""
        return None if self.labels is None else self.labels[torch.from_numpy(rows)]

    def source(self, rows: np.ndarray) -> Source:
        """Some examples in memory, as any other reader gives them."""
        require(2 * len(rows) * _bytes_of(self.space), self.name)
        x, skipped = self.select(rows)
        good = np.setdiff1d(np.arange(len(rows)), list(skipped))
        x, rows = (x[torch.from_numpy(good)] if skipped else x), rows[good]
        known = self.known(rows)
        official = int((rows >= len(self) - self.official).sum())
        return Source(
            x,
            self.space,
            self.where,
            skipped=tuple(skipped.values()),
            labels=known if self.caption is None else None,
            captions=known if self.caption is not None else None,
            class_names=self.class_names,
            test=official if 0 < official < len(rows) else 0,
            notes=self.notes,
            hint=self.hint,
        )


def _bytes_of(space: Space) -> int:
    """Bytes of a raw example."""
    return math.prod(space.shape) * (1 if isinstance(space, Images) else 4)  # levels of pixels are bytes


# --- arrays -----------------------------------------------------------------------------------------------------------


@final
class StoredArray(Stored):
    """The rows of an ``.npy``: images of unsigned bytes, or vectors.

    Args:
        path: the file.
        x: the array, mapped; only its shape, its type and its place in the file are used.
        space: the space of its rows.
        channels_first: whether an image is ``(C, H, W)`` in the file, not ``(H, W, C)``.
    """

    def __init__(self, path: Path, x: np.memmap, space: Space, channels_first: bool = False) -> None:
        if not x.flags.c_contiguous:
            raise DataError(f"{path}: its rows do not lie together (Fortran order): save a numpy.ascontiguousarray")
        self.path, self.name, self.space, self.channels_first = path, str(path), space, channels_first
        self.start, self.row, self.dtype, self.shape = x.offset, x.itemsize * x[0].size, x.dtype, x.shape[1:]
        self.edges = edges_of(np.full(len(x), self.row), max(BLOCK, self.row))
        self.block_bytes = x.nbytes / (len(self.edges) - 1)
        self.where = f"file {path}, streamed"

    def digest(self) -> str:
        return digest_of([self.path], self.path)

    def select(self, rows: np.ndarray) -> tuple[Tensor, dict[int, str]]:
        x = np.empty((len(rows), *self.shape), self.dtype)
        with self.path.open("rb", buffering=0) as file:
            for i, row in enumerate(rows.tolist()):
                if os.preadv(file.fileno(), [x[i : i + 1].data], self.start + row * self.row) != self.row:
                    raise DataError(f"{self.path}, row {row + 1:,}: is missing: the file has changed")
        if isinstance(self.space, Images):  # other numbers have no levels
            self._check_levels(x, rows)
            x = x.reshape(len(x), *self.space.shape) if self.channels_first else x.transpose(0, 3, 1, 2)
            return torch.from_numpy(x), {}
        from fourfold.data.arrays import finite_vectors

        return finite_vectors(x, self.name, [str(i) for i in range(x.shape[1])], rows), {}

    def _check_levels(self, x: np.ndarray, rows: np.ndarray) -> None:
        levels = self.space.levels if isinstance(self.space, Images) else 256  # as above
        if levels < 256 and int(x.max()) >= levels:
            row = int(np.argmax(x.reshape(len(x), -1).max(1)))
            raise DataError(
                f"{self.path}, row {int(rows[row]) + 1:,}: holds the value {int(x[row].max())}, but a pixel has "
                f"{levels} levels: give {option('levels', 256)}"
            )


# --- encoded images ---------------------------------------------------------------------------------------------------


@final
class StoredImages(Stored):
    """Encoded images, which are decoded when they are needed.

    Args:
        records: the images.
        root: the file or folder, to which names of files are relative in the digest.
        options: size, channels, and whether images that cannot be read are skipped.

    Raises:
        DataError: if no image can be read, or labels are not labels.
    """

    def __init__(self, records: StoredRecords, root: Path, options: Options) -> None:
        self.records, self.root, self.name = records, root, records.name
        if not len(records):
            raise DataError(f"{root}: holds no PNG, JPEG or WebP images: give data with images")
        self.edges, self.block_bytes, self.official = records.edges, records.block_bytes, records.official
        self.skips = options.skip_bad
        rows = np.sort(_some(self, self.edges, np.random.default_rng(0), PROBED)[:PROBED])
        headers = [h for row in rows.tolist() if (h := self._header(row)) is not None]
        if not headers:
            raise DataError(f"{root}: not one of {len(rows)} images can be read: are they PNG, JPEG or WebP?")
        self.form: Format = format_of(headers, options)
        self.space = Images(self.form.channels, self.form.height, self.form.width)
        seen = "" if len(rows) == len(self) else f" (of {len(self):,}, which were not all looked at)"
        self.notes = tuple(f"{note}{seen}" for note in notes_of(headers, self.form, options))
        self.where = f"{len(records.files):,} file{'s' if len(records.files) > 1 else ''} of {root}, streamed"
        self._take_labels()
        captions = records.captions(rows) if self.labels is None else None
        if captions is not None:
            longest = max(len(caption.encode()) for caption in captions)
            self.caption = min(max(SHORTEST, longest), LONGEST)
        self.hint = "add labels (a column, .cls members, or a folder for each class)"

    def _take_labels(self) -> None:
        found = self.records.labels()
        if found is None:
            return
        values, where, names = found
        ids, distinct = encode_labels(values, len(self), where)
        if names is not None and values.dtype.kind in "iu" and values.min() >= 0 and values.max() < len(names):
            ids, distinct = torch.from_numpy(values.astype(np.int64)), tuple(names)
        self.labels, self.class_names = ids, distinct

    def _header(self, row: int) -> ImageHeader | None:
        """The format of an image; ``None`` if it cannot be read and such images are skipped."""
        found = header_of(io.BytesIO(self.records.read(np.array([row]))[0]))
        if not isinstance(found, str):
            return found
        if self.skips:
            return None
        raise self._refused(row, found)

    def _refused(self, row: int, reason: str) -> DataError:
        way = f"replace or remove it, or skip it with {option('skip_bad', True)}"
        if "where others are" in reason:
            way = f"give {option('size', self.form.height)}"
        return DataError(f"{self.records.where(row)}: {reason}: {way}")

    def digest(self) -> str:
        return digest_of(self.records.files, self.root)

    def select(self, rows: np.ndarray) -> tuple[Tensor, dict[int, str]]:
        x = np.zeros((len(rows), *self.space.shape), np.uint8)
        skipped: dict[int, str] = {}
        for i, (row, content) in enumerate(zip(rows.tolist(), self.records.read(rows), strict=True)):
            reason = decode_into(x[i], content, self.form)
            if reason and not self.skips:
                raise self._refused(row, reason)
            if reason:
                skipped[i] = f"{self.records.where(row)}: {reason}"
        return torch.from_numpy(x), skipped

    def known(self, rows: np.ndarray) -> Tensor | None:
        if self.caption is None:
            return super().known(rows)
        captions = self.records.captions(rows) or []
        return encode_captions([_cut(" ".join(caption.split()), self.caption) for caption in captions], self.caption)


def _cut(caption: str, most: int) -> str:
    """A caption of at most so many bytes."""
    return caption.encode()[:most].decode(errors="ignore")


# --- splits -----------------------------------------------------------------------------------------------------------


def _some(stored: Stored, edges: np.ndarray, generator: np.random.Generator, least: int) -> np.ndarray:
    """Examples of randomly chosen blocks in random order: of as many blocks as :data:`TOUCHED` bytes hold, or more."""
    order = generator.permutation(len(edges) - 1)
    enough = int(np.searchsorted(np.cumsum(np.diff(edges)[order]), least)) + 1
    chosen = order[: max(enough, int(TOUCHED / max(stored.block_bytes, 1)), 2)]
    return generator.permutation(np.concatenate([np.arange(edges[i], edges[i + 1]) for i in chosen.tolist()]))


@final
class Streamed:
    """The training examples of stored data, each epoch in another order.

    An epoch takes the blocks in random order and mixes the examples of about :data:`POOL` bytes of blocks at a time, so
    that files are read in long pieces. Its order is a function of seed and epoch: nothing needs to be kept to resume.

    Args:
        stored: the examples.
        held_out: the examples that are not trained on, ascending.
        conditional: whether batches have labels or captions.
        spare: training examples that stand in for those that are skipped, since they cannot be read.
        options: the arguments of :func:`fourfold.load` with which another process reads the same.
    """

    def __init__(
        self, stored: Stored, held_out: np.ndarray, conditional: bool, spare: Tensor, options: Mapping[str, Any]
    ) -> None:
        self.stored, self.held_out, self.conditional = stored, held_out, conditional
        self.spare, self.options = spare, options
        self.edges = _within(stored.edges, 0, len(stored) - stored.official)
        self._counts = np.diff(self.edges) - np.histogram(held_out, self.edges)[0]
        self._pooled = max(int(POOL / max(stored.block_bytes, 1)), 2)
        self._plan: tuple[tuple[int, int], np.ndarray, np.ndarray] | None = None
        self._pools: dict[tuple[int, int, int], np.ndarray] = {}

    def __len__(self) -> int:
        return int(self._counts.sum())

    def rows(self, seed: int, epoch: int, start: int, stop: int) -> np.ndarray:
        """The examples from ``start`` to ``stop`` in the order of an epoch."""
        if self._plan is None or self._plan[0] != (seed, epoch):
            order = np.random.default_rng((seed, epoch)).permutation(len(self._counts))
            ends = np.cumsum(self._counts[order])
            first = np.concatenate([[0], ends[self._pooled - 1 : -1 : self._pooled], ends[-1:]])
            self._plan = (seed, epoch), order, first
        _, order, first = self._plan
        found = []
        for pool in range(int(np.searchsorted(first, start, side="right")) - 1, len(first) - 1):
            if first[pool] >= stop:
                break
            mixed = self._mixed(seed, epoch, pool, order)
            found.append(mixed[max(start - first[pool], 0) : stop - first[pool]])
        return np.concatenate(found)

    def _mixed(self, seed: int, epoch: int, pool: int, order: np.ndarray) -> np.ndarray:
        """The examples of a pool in random order; those of the last two pools are kept."""
        key = seed, epoch, pool
        if key not in self._pools:
            blocks = order[pool * self._pooled : (pool + 1) * self._pooled].tolist()
            rows = np.concatenate([np.arange(self.edges[i], self.edges[i + 1]) for i in blocks])
            rows = rows[~np.isin(rows, self.held_out)]
            self._pools[key] = np.random.default_rng((seed, epoch, pool)).permutation(rows)
            if len(self._pools) > 2:
                self._pools.pop(next(iter(self._pools)))
        return self._pools[key]

    def batch(self, rows: np.ndarray) -> Batch:
        """Raw examples, with their labels or captions if those are wanted."""
        x, skipped = self.stored.select(rows)
        for i in skipped:
            x[i] = self.spare[int(rows[i]) % len(self.spare)]
        return Batch(x, self.stored.known(rows) if self.conditional else None)


def _within(edges: np.ndarray, low: int, high: int) -> np.ndarray:
    """The edges of the blocks between two examples, which are edges too."""
    return np.unique(np.clip(edges, low, high))


def assemble_stored(name: str, stored: Stored, options: Options) -> Dataset:
    """Split stored examples by a seed. What is held out, and a sample of the training examples, come into memory.

    Held-out parts have the share of ``fractions`` if these are given; by default a tenth each, but no more than
    :data:`SAMPLE` bytes or :data:`FEW` examples.

    Raises:
        DataError: for missing labels of conditional data, too few examples, or one that cannot be read.
    """
    if options.conditional and stored.labels is None and stored.caption is None:
        raise DataError(f"{name} has no labels to be conditional on: {stored.hint}")
    if len(stored) < FEWEST:
        raise DataError(f"{name}: {len(stored)} examples are too few: at least {FEWEST} are needed")
    generator = np.random.default_rng(options.seed)
    pool = len(stored) - stored.official
    most = max(SAMPLE // _bytes_of(stored.space), min(FEW, 8 * SAMPLE // _bytes_of(stored.space)), 1)
    shares = fractions_of(options, (0.8, 0.1, 0.1))
    counts = [max(int(share * pool), 1) for share in shares[1:]]
    counts = counts if options.fractions else [min(count, most) for count in counts]
    inner = _within(stored.edges, 0, pool)
    sample = min(most, pool - sum(counts))
    drawn = _some(stored, inner, generator, sum(counts) + sample)
    if stored.official:
        last = _within(stored.edges, pool, len(stored))
        test = _some(stored, last, generator, min(most, stored.official))[:most]
        counts = counts[:1]
    parts = np.split(drawn[: sum(counts) + sample], np.cumsum(counts))
    held_out = np.sort(np.concatenate(parts[:-1]))
    parts = [*parts[:-1], *([test] if stored.official else []), parts[-1]]
    read = [_split(stored, part, options.conditional) for part in parts]
    skipped = tuple(line for _, lines in read for line in lines)
    validation, train = read[0][0], read[-1][0]
    try:
        space = _conditioned(stored, options)
        space.check_training(train.x)
    except ValueError as error:
        raise DataError(f"{name}: {error}") from None
    again = {f.name: getattr(options, f.name) for f in fields(options) if getattr(options, f.name) != f.default}
    again = {key: value for key, value in again.items() if key not in ("space", "as_table")} | {"stream": True}
    return Dataset(
        name,
        space,
        train,
        validation,
        read[-2][0],
        _digest(stored),
        stored.where,
        skipped,
        None,
        stored.class_names,
        options.seed,
        (*stored.notes, *space.notes(train.x)),
        streamed=Streamed(stored, held_out, options.conditional, train.x, again),
    )


def _digest(stored: Stored) -> str:
    if stored.labels is None:
        return stored.digest()
    return hashlib.sha256(stored.digest().encode() + stored.labels.numpy().tobytes()).hexdigest()


def _conditioned(stored: Stored, options: Options) -> Space:
    if not options.conditional:
        return stored.space
    if stored.caption is not None:
        return stored.space.conditioned(caption=stored.caption)
    return stored.space.conditioned(stored.class_names)


def _split(stored: Stored, rows: np.ndarray, conditional: bool) -> tuple[Split, list[str]]:
    """Examples in memory, and those that are skipped. They are read in the order of the files, by two threads."""
    require(2 * len(rows) * _bytes_of(stored.space), stored.name, f"give smaller {option('fractions')}")
    order = np.argsort(rows)
    with ThreadPoolExecutor(2) as threads:
        read = list(threads.map(stored.select, np.array_split(rows[order], max(len(rows) // 64, 1))))
    x = torch.cat([part for part, _ in read])[torch.from_numpy(np.argsort(order))]
    starts = np.cumsum([0, *(len(part) for part, _ in read)])
    bad = dict[int, str]()
    for start, (_, lost) in zip(starts.tolist(), read, strict=False):
        bad |= {int(order[start + i]): why for i, why in lost.items()}
    good = torch.tensor([i for i in range(len(rows)) if i not in bad], dtype=torch.long)
    if not len(good):
        raise DataError(f"{stored.name}: not one of {len(rows)} examples can be read ({next(iter(bad.values()))})")
    x = x[good] if bad else x
    return Split(x, stored.known(rows[good.numpy()]) if conditional else None), list(bad.values())
