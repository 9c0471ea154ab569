"""NumPy files: images as unsigned bytes, vectors as numbers. Nothing is ever unpickled."""

from __future__ import annotations

import contextlib
import math
import os
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, final

import numpy as np
import torch
from torch import Tensor

from fourfold.core import Space
from fourfold.data.errors import DataError, option, readable
from fourfold.data.formats import formats
from fourfold.data.labels import encode_labels
from fourfold.data.memory import free_memory, require
from fourfold.data.pairing import aligned, columns_named
from fourfold.data.records import BLOCK, digest_of, edges_of
from fourfold.data.source import Source
from fourfold.data.splits import chosen_rows
from fourfold.data.stored import Stored
from fourfold.output.printable import one_of, shortened
from fourfold.settings.data import OWN, ConditionOptions, DataOptions, names_of
from fourfold.spaces import Images, Vectors

__all__ = ["StoredArray", "as_array", "finite_vectors", "images_of", "of_array", "read_array"]

SMALLER = "save it as .npy, which --limit reads in part"
"""The way out of an array that does not fit into memory."""
RECURRING = 5
"""Conditions of each class, at least, if whole numbers are to be classes."""
_EXAMPLES = ("x", "X", "data", "images", "arr_0")
_LABELS = ("y", "Y", "labels", "label", "targets", "target")


def read_array(path: Path, options: DataOptions) -> Source | Stored:
    """Read ``.npy`` (mapped, not copied) or ``.npz`` (only the arrays that are used).

    An ``.npy`` that does not fit into memory is streamed, if its use is not limited.

    Raises:
        DataError: if it is corrupt, pickled, too large, of a wrong dtype or shape, not finite, or its labels do not
            match.
    """
    with _open_numpy(path) as loaded:
        if isinstance(loaded, np.ndarray):
            labels = _label_file(options)
            hint = f"name a file of labels: {option('labels')}"
            if options.stream or (options.stream is None and options.limit is None and not _fits(loaded)):
                return _stored(path, loaded, labels, options, hint)
            changeable = np.load(path, mmap_mode="c", allow_pickle=False)
            return of_array(str(path), changeable, labels, str(options.labels or "labels"), options, hint=hint)
        conditions = _given_array(path, loaded, options)
        x, y, key, test = _choose(path, loaded, options)
    hint = f"add an array {_LABELS[0]!r}, or name one: {option('labels')}"
    source = of_array(str(path), x, y, f"{path}[{key}]", options, test, hint)
    return source if conditions is None else aligned(str(path), source, *conditions, False, conditions[0])


def _given_array(path: Path, arrays: _Members, options: DataOptions) -> tuple[str, Source] | None:
    """The array of conditions of an ``.npz``, and its name in messages, where its key was named."""
    if options.model is not None or not names_of(options.given):
        return None
    others = [name for name in arrays.names if name not in OWN]  # an array of labels holds classes, no numbers
    keys = columns_named(str(path), options.given, others, things="arrays")
    if len(keys) > 1:
        raise DataError(f"{path}: given must be one array, got {shortened(keys)}; join them in one")
    if not keys:
        return None
    name, x = f"{path}[{keys[0]}]", arrays.read(keys[0])
    arrays.names.remove(keys[0])
    settings = DataOptions(seed=options.seed)
    return name, of_array(name, x[:, None] if x.ndim == 1 else x, None, name, settings)


def as_array(rows: np.ndarray | Sequence[object]) -> np.ndarray:
    """The array of nested sequences of numbers.

    Raises:
        DataError: for rows of several lengths, or anything else than numbers.
    """
    try:
        array = np.asarray(rows)
    except (ValueError, TypeError):
        array = np.asarray(None)
    if array.dtype.kind not in "biuf":
        raise DataError(
            f"data must hold numbers in rows of one length, or texts, got a {type(rows).__name__} of others; give an "
            "array, or a data frame as in pandas.DataFrame(rows), for series of several lengths with group= and order="
        )
    return array


def _fits(x: np.ndarray) -> bool:
    """True if an array fits into memory: images nearly as they are, vectors as float32 and float64."""
    return x.ndim not in (2, 3, 4) or _array_bytes(x) <= free_memory()


def _array_bytes(x: np.ndarray) -> float:
    return 1.3 * x.nbytes if x.ndim > 2 else 12 * x.size


def _stored(path: Path, x: np.ndarray, labels: np.ndarray | None, options: DataOptions, hint: str) -> Stored:
    """An array that stays in its file. Its values are checked when they are read."""
    if not isinstance(x, np.memmap) or x.ndim not in (2, 3, 4) or 0 in x.shape:
        raise DataError(f"{path}: shape must be (N, D) for vectors or (N, H, W[, C]) for images, got {x.shape}")
    if x.ndim > 2 and x.dtype != np.uint8:
        raise DataError(_of_floats(str(path), x))
    first = x.ndim == 3 or (x.ndim == 4 and _channels_first(str(path), x.shape, options))
    space: Space = Vectors(x.shape[1], observed=len(x))
    if x.ndim > 2:
        shape = (1, *x.shape[1:]) if x.ndim == 3 else x.shape[1:] if first else (x.shape[3], *x.shape[1:3])
        channels, height, width = shape
        space = Images(channels, height, width, options.n_values or 256)
    stored = StoredArray(path, x, space, first)
    stored.hint = hint
    if options.stream is None:
        size, free = (f"{count / 1e9:,.1f} GB" for count in (_array_bytes(x), free_memory()))
        stored.notes = (f"{path}: {size} do not fit into the {free} of free memory: it is streamed",)
    if labels is not None:
        stored.cond, stored.given = encode_labels(labels, len(x), str(options.labels))
    return stored


@final
class StoredArray(Stored):
    """The rows of an ``.npy``: images of unsigned bytes, or vectors.

    Args:
        path: the file.
        x: the array, mapped. Only its shape, its type and its place in the file are used.
        space: the space of its rows.
        channels_first: whether an image is ``(C, H, W)`` in the file, not ``(H, W, C)``.
    """

    def __init__(self, path: Path, x: np.memmap, space: Space, channels_first: bool = False) -> None:
        if not x.flags.c_contiguous:
            raise DataError(f"{path}: must be in C order, got Fortran order: save a numpy.ascontiguousarray")
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
                    raise DataError(
                        f"{self.path}: must be unchanged while it is read, got no row {row + 1:,}; load it again"
                    )
        if isinstance(self.space, Images):  # other numbers have no limit
            self._check_values(x, rows)
            x = x.reshape(len(x), *self.space.shape) if self.channels_first else x.transpose(0, 3, 1, 2)
            return torch.from_numpy(x), {}
        return finite_vectors(x, self.name, [str(i) for i in range(x.shape[1])], rows), {}

    def _check_values(self, x: np.ndarray, rows: np.ndarray) -> None:
        n_values = self.space.n_values if isinstance(self.space, Images) else 256  # as above
        if n_values < 256 and int(x.max()) >= n_values:
            row = int(np.argmax(x.reshape(len(x), -1).max(1)))
            raise DataError(
                f"{self.path}, row {int(rows[row]) + 1:,}: pixel values must be from 0 to {n_values - 1}, got "
                f"{int(x[row].max())}; give {option('n_values', 256)}"
            )


@final
class _Members:
    """The arrays of an ``.npz``, each read when it is needed, if it fits into memory."""

    def __init__(self, path: Path, file: zipfile.ZipFile) -> None:
        self.path, self.file = path, file
        foreign = next((name for name in file.namelist() if not name.endswith(".npy")), None)
        if foreign is not None:
            raise DataError(f"{path}: must hold arrays alone, got {foreign[:80]!r}; save it again with numpy.savez")
        self.names = [name.removesuffix(".npy") for name in file.namelist()]

    def read(self, name: str) -> np.ndarray:
        """The array of a name."""
        with _readable(self.path), self.file.open(f"{name}.npy") as member:
            require(2 * _announced(member), f"{self.path}[{name[:80]}]", SMALLER)
        with _readable(self.path), self.file.open(f"{name}.npy") as member:
            array: np.ndarray = np.lib.format.read_array(member, allow_pickle=False)
            return array


def _announced(member: IO[bytes]) -> int:
    """The bytes of the array that an ``.npy`` begins with."""
    version = np.lib.format.read_magic(member)
    header_reader = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, dtype = header_reader(member)
    return math.prod(shape) * dtype.itemsize


@contextlib.contextmanager
def _open_numpy(path: Path) -> Iterator[np.ndarray | _Members]:
    """The array, or the arrays by name."""
    with contextlib.ExitStack() as stack:
        with _readable(path):
            with path.open("rb") as file:
                start = file.read(6) if path.stat().st_size else b""
            if start.startswith(b"PK"):
                loaded: np.ndarray | _Members = _Members(path, stack.enter_context(zipfile.ZipFile(path)))
            elif start == np.lib.format.MAGIC_PREFIX:
                loaded = np.load(path, mmap_mode="r", allow_pickle=False)  # a map that can be written counts as memory
            else:
                raise DataError(f"{path}: cannot be read as a NumPy file: save it again with numpy.save or numpy.savez")
        yield loaded


@contextlib.contextmanager
def _readable(path: Path) -> Iterator[None]:
    """Errors of reading as one line. Python objects are refused by name."""
    faults = (zlib.error, struct.error, tokenize.TokenError, zipfile.BadZipFile)
    with readable(path, way="save it again with numpy.save or numpy.savez", smaller=SMALLER, also=faults):
        try:
            yield
        except ValueError as error:
            if "pickle" not in str(error) and "Python objects" not in str(error):
                raise
            raise DataError(
                f"{path}: must hold numbers, got Python objects, which could run code: save a plain array"
            ) from None


def _label_file(options: DataOptions) -> np.ndarray | None:
    if options.labels is None:
        return None
    path = Path(str(options.labels))
    if not path.is_file():
        raise DataError(f"labels must be another .npy for an .npy, got {path}, which is no file")
    with _open_numpy(path) as loaded:
        if not isinstance(loaded, np.ndarray):
            raise DataError(f"labels {path}: must be a single array, got several: save it with numpy.save")
        return loaded


def _choose(path: Path, arrays: _Members, options: DataOptions) -> tuple[np.ndarray, np.ndarray | None, str, int]:
    """Examples, labels, the key of the labels, and how many examples at the end are an official test set."""
    names = arrays.names
    label = None if options.model is not None and options.labels not in names else options.labels
    if label is not None and label not in names:
        raise DataError(f"{path}: labels must be {one_of(options.labels, names)}")
    if {"x_train", "x_test"} <= set(names):
        return _official(path, arrays)
    key = str(label or next((key for key in _LABELS if key in names), ""))
    candidates = [name for name in names if name != key]
    usual_names = [name for name in _EXAMPLES if name in candidates]
    if not usual_names and len(candidates) != 1:
        raise DataError(
            f"{path}: must name its examples 'x' and its labels 'y', got the arrays {shortened(names) or 'none'}"
        )
    return arrays.read((usual_names or candidates)[0]), arrays.read(key) if key else None, key, 0


def _official(path: Path, arrays: _Members) -> tuple[np.ndarray, np.ndarray | None, str, int]:
    """``x_train, y_train, x_test, y_test``."""
    x, test = arrays.read("x_train"), arrays.read("x_test")
    if x.shape[1:] != test.shape[1:] or x.dtype != test.dtype or not x.ndim:
        raise DataError(f"{path}: x_test must match x_train {x.shape} {x.dtype}, got {test.shape} {test.dtype}")
    y = None
    if {"y_train", "y_test"} <= set(arrays.names):
        parts = [arrays.read(name).reshape(-1) for name in ("y_train", "y_test")]
        if [len(part) for part in parts] != [len(x), len(test)]:
            raise DataError(
                f"{path}: labels must be {len(x)} and {len(test)}, as its examples, got {[len(p) for p in parts]}"
            )
        y = np.concatenate(parts)
    return np.concatenate([x, test]), y, "y_train", len(test)


def of_array(
    name: str, x: np.ndarray, y: np.ndarray | None, where: str, options: DataOptions, test: int = 0, hint: str = ""
) -> Source:
    """The source of an array of images or vectors, and of its labels.

    Args:
        name: the file, for messages.
        x: ``(N, D)`` numbers, or ``(N,)`` for conditions; uint8 ``(N, H, W)``, ``(N, H, W, C)`` or ``(N, C, H, W)``;
            or an array of a format that is installed.
        y: ``(N,)`` labels, or ``None``.
        where: the file or key of the labels, for messages.
        options: the limit, and how many values a pixel has.
        test: how many examples at the end are an official test set.
        hint: the way out when labels are asked for and there are none.
    """
    if x.ndim == 1 and options.model is not None and not options.model.shape:
        return Source(torch.from_numpy(x), options.model, f"file {name}", hint=hint)
    if x.ndim == 1 and isinstance(options, ConditionOptions):
        return _of_numbers(name, x, options)
    form = next((form for form in formats() if form.axes == x.ndim), None)
    if x.ndim not in (2, 3, 4) and form is None:
        raise DataError(
            f"{name}: shape must be (N, D) or (N, H, W[, C]) for images, got {x.shape}; reshape it, one example per row"
        )
    labels, given = (None, None) if y is None else encode_labels(y, len(x), where)
    if options.limit is not None and options.limit < len(x) and not test:
        rows = chosen_rows(len(x), options, labels)
        x, labels = x[rows], None if labels is None else labels[rows]
    if x.ndim > 2:
        examples, space = images_of(name, x, options) if form is None else form.of_array(name, x, options)
        return Source(examples, space, f"file {name}", labels, given, test, hint=hint)
    require(_array_bytes(x), name)  # float32, and float64 while the statistics of the columns are taken
    vectors = finite_vectors(x, name, [str(i) for i in range(x.shape[1])])
    return Source(vectors, Vectors(x.shape[1], observed=len(x)), f"file {name}", labels, given, test, hint=hint)


def _of_numbers(name: str, x: np.ndarray, options: ConditionOptions) -> Source:
    """The source of a condition for each example: whole numbers 0 to K - 1, each in several, are classes."""
    distinct = np.unique(x) if x.dtype.kind in "biu" else x[:0]
    if not 1 < len(distinct) <= len(x) / RECURRING or (distinct != np.arange(len(distinct))).any():
        return of_array(name, x[:, None], None, name, options)
    labels, classes = encode_labels(x.astype(np.int64), len(x), name)
    note = f"{name}: the whole numbers 0 to {classes.count - 1} are classes; give floats for a quantity"
    return Source(labels, classes, f"file {name}", notes=(note,))


def images_of(name: str, x: np.ndarray, options: DataOptions) -> tuple[torch.Tensor, Images]:
    """uint8 images as ``(N, C, H, W)``, a view where possible. Conditions may have unknown pixels."""
    if x.dtype == np.int16 and isinstance(options, ConditionOptions):
        return _with_holes(name, x, options)
    n_values = options.n_values or (2 if x.dtype == np.bool_ else 256)
    if x.dtype == np.bool_:
        x = x.astype(np.uint8)
    if x.dtype != np.uint8:
        raise DataError(_of_floats(name, x))
    if 0 in x.shape:
        raise DataError(f"{name}: images must have pixels, got the shape {x.shape}")
    require(_array_bytes(x), name)
    first = x.ndim == 4 and _channels_first(name, x.shape, options)
    channels_first = x[:, None] if x.ndim == 3 else x if first else x.transpose(0, 3, 1, 2)
    highest = max(int(part.max()) for part in np.array_split(x, max(x.nbytes >> 26, 1)) if part.size)
    if not 2 <= n_values <= 256 or highest >= n_values:
        raise DataError(
            f"{name}: pixel values must be from 0 to {n_values - 1}, got {highest}; "
            f"give {option('n_values', highest + 1)} or more"
        )
    channels, height, width = channels_first.shape[1:]
    return torch.from_numpy(channels_first), Images(channels, height, width, n_values)


def _with_holes(name: str, x: np.ndarray, options: DataOptions) -> tuple[torch.Tensor, Images]:
    """int16 pictures as conditions. A pixel of -1 is unknown."""
    if x.size and (x.min() < -1 or x.max() > 255):
        raise DataError(f"{name}: pixel values must be from -1 (unknown) to 255, got {x.min()} to {x.max()}")
    hidden = x == -1
    pixels, space = images_of(name, np.where(hidden, 0, x).astype(np.uint8), options)
    holes, _ = images_of(name, hidden.astype(np.uint8), options)
    return space.conditions(pixels.to(torch.int16).masked_fill(holes.bool(), -1), len(pixels)), space


def _of_floats(name: str, x: np.ndarray) -> str:
    way = "for values in [0, 1] give (255 * x).round().astype(numpy.uint8)"
    if x.ndim == 3:
        way += ", for series a data frame of all their rows with group= and order="
    return f"{name}: images must be uint8, got {x.dtype}; {way}"


def _channels_first(name: str, shape: tuple[int, ...], options: DataOptions) -> bool:
    """True if the first axis of an image is its channels, not the last.

    The channels are 1, 3 or 4. Where both axes are, the shape of a model decides, then the squarer image, then the
    last.
    """
    if options.model is not None and options.model.shape in (shape[1:], (shape[3], *shape[1:3])):
        return shape[1:] == options.model.shape
    first, last = shape[1] in (1, 3, 4), shape[3] in (1, 3, 4)
    if not (first or last):
        raise DataError(f"{name}: images must be (N, H, W, C) or (N, C, H, W) with 1, 3 or 4 channels, got {shape}")
    if not (first and last):
        return first
    return abs(shape[2] - shape[3]) < abs(shape[1] - shape[2])


def finite_vectors(x: np.ndarray, where: str, columns: list[str], rows: np.ndarray | None = None) -> torch.Tensor:
    """``(N, D)`` numbers as float32, all finite.

    Args:
        x: the numbers.
        where: the file, for messages.
        columns: names of the columns, for messages.
        rows: the place of each row in its file, from 0, where only some rows were read.

    Raises:
        DataError: naming the row (from 1) and column of the first value that is not.
    """
    if x.dtype.kind not in "fiub":
        raise DataError(f"{where}: vectors must be real numbers, got {x.dtype}; save them as float32")
    if 0 in x.shape:
        raise DataError(f"{where}: vectors must have values, got the shape {x.shape}")
    with np.errstate(over="ignore", invalid="ignore"):
        values = np.ascontiguousarray(x, dtype=np.float32)
    for start in range(0, len(values), 1 << 16):
        bad = np.argwhere(~np.isfinite(values[start : start + (1 << 16)]))
        if len(bad):
            row, column = start + int(bad[0, 0]), int(bad[0, 1])
            place = row if rows is None else int(rows[row])
            raise DataError(f"{where}, row {place + 1}, column {columns[column]}: {_fault(x[row, column])}")
    return torch.from_numpy(values if values.flags.writeable else values.copy())


def _fault(value: np.generic) -> str:
    if np.isnan(value):
        return "must be a number, got a missing value (NaN): fill it, or drop the row"
    return f"must be a finite float32, got {value}; correct it, or drop the row"
