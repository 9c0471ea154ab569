"""NumPy files: images as unsigned bytes, vectors as numbers. Nothing is ever unpickled."""

from __future__ import annotations

import struct
import tokenize
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch

from fourfold.data.dataset import DataError, Options, Source
from fourfold.data.labels import encode_labels
from fourfold.spaces import Images, Vectors

__all__ = ["finite_vectors", "read_array"]

_UNREADABLE = (
    OSError,
    ValueError,
    EOFError,
    KeyError,
    TypeError,
    SyntaxError,
    RuntimeError,
    MemoryError,
    OverflowError,
    zlib.error,
    struct.error,
    tokenize.TokenError,
    zipfile.BadZipFile,
)
_EXAMPLES = ("x", "X", "data", "images", "arr_0")
_LABELS = ("y", "Y", "labels", "label", "targets", "target")


def read_array(path: Path, options: Options) -> Source:
    """Read ``.npy`` (mapped, not copied) or ``.npz``.

    Raises:
        DataError: if it is corrupt, pickled, of a wrong dtype or shape, not finite, or its labels do not match.
    """
    loaded = _load(path)
    if isinstance(loaded, np.ndarray):
        labels = _label_file(options)
        hint = "name a file of labels (labels=)"
        return _source(path, loaded, labels, options.labels or "labels", 0, options, hint)
    x, y, key, test = _choose(path, loaded, options)
    return _source(path, x, y, f"{path}[{key}]", test, options, f"add an array {_LABELS[0]!r}, or name one (labels=)")


def _load(path: Path) -> np.ndarray | dict[str, np.ndarray]:
    """The array, or the arrays by key."""
    try:
        with path.open("rb") as file:
            if file.read(2) == b"PK":
                file.seek(0)
                with np.load(file, allow_pickle=False) as arrays:
                    return {key: arrays[key] for key in arrays.files}
        array: np.ndarray = np.load(path, mmap_mode="c", allow_pickle=False)
        return array
    except _UNREADABLE as error:
        if "pickle" in str(error) or "Python objects" in str(error):
            raise DataError(
                f"{path}: holds Python objects, which are never unpickled: save a plain array of numbers"
            ) from None
        reason = " ".join(str(error).split())[:120] or type(error).__name__
        raise DataError(f"{path}: cannot be read ({reason}): save it again with numpy.save or numpy.savez") from None


def _label_file(options: Options) -> np.ndarray | None:
    if options.labels is None:
        return None
    path = Path(options.labels)
    if not path.is_file():
        raise DataError(f"labels {path}: there is no such file; the labels of an .npy lie in another .npy")
    loaded = _load(path)
    if not isinstance(loaded, np.ndarray):
        raise DataError(f"labels {path}: is no single array: save the labels with numpy.save")
    return loaded


def _choose(
    path: Path, arrays: Mapping[str, np.ndarray], options: Options
) -> tuple[np.ndarray, np.ndarray | None, str, int]:
    """Examples, labels, the key of the labels, and how many examples at the end are an official test set."""
    if options.labels is not None and options.labels not in arrays:
        raise DataError(f"{path}: there is no array {options.labels!r} for labels, only {', '.join(arrays)}")
    if {"x_train", "x_test"} <= set(arrays):
        return _official(path, arrays)
    key = options.labels or next((key for key in _LABELS if key in arrays), "")
    others = [name for name in arrays if name != key]
    named = [name for name in _EXAMPLES if name in others]
    if not named and len(others) != 1:
        raise DataError(
            f"{path}: holds the arrays {', '.join(arrays) or 'none'}: name the examples 'x' and the labels 'y'"
        )
    return arrays[(named or others)[0]], arrays.get(key), key, 0


def _official(path: Path, arrays: Mapping[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray | None, str, int]:
    """``x_train, y_train, x_test, y_test``."""
    x, test = arrays["x_train"], arrays["x_test"]
    if x.shape[1:] != test.shape[1:] or x.dtype != test.dtype or not x.ndim:
        raise DataError(f"{path}: x_train {x.shape} {x.dtype} and x_test {test.shape} {test.dtype} do not match")
    y = None
    if {"y_train", "y_test"} <= set(arrays):
        parts = [arrays["y_train"].reshape(-1), arrays["y_test"].reshape(-1)]
        if [len(part) for part in parts] != [len(x), len(test)]:
            raise DataError(f"{path}: {[len(p) for p in parts]} labels for {[len(x), len(test)]} examples")
        y = np.concatenate(parts)
    return np.concatenate([x, test]), y, "y_train", len(test)


def _source(
    path: Path, x: np.ndarray, y: np.ndarray | None, where: str, test: int, options: Options, hint: str
) -> Source:
    labels, names = (None, ()) if y is None or x.ndim == 0 else encode_labels(y, len(x), where)
    if x.ndim in (3, 4):
        images, space = _images(path, x, options)
        return Source(images, space, f"file {path}", labels, names, test, hint=hint)
    if x.ndim != 2:
        raise DataError(
            f"{path}: shape {x.shape} is neither vectors (N, D) nor images (N, H, W[, C]): reshape it, "
            "one example per row"
        )
    vectors = finite_vectors(x, str(path), [str(i) for i in range(x.shape[1])])
    return Source(vectors, Vectors(x.shape[1]), f"file {path}", labels, names, test, hint=hint)


def _images(path: Path, x: np.ndarray, options: Options) -> tuple[torch.Tensor, Images]:
    """uint8 images as ``(N, C, H, W)``, a view where possible."""
    if x.dtype != np.uint8:
        raise DataError(
            f"{path}: images of {x.dtype}: give uint8 levels, for values in [0, 1] "
            "(255 * x).round().astype(numpy.uint8)"
        )
    if 0 in x.shape:
        raise DataError(f"{path}: shape {x.shape} holds no pixels")
    channels_first = x[:, None] if x.ndim == 3 else x if _channels_first(path, x.shape) else x.transpose(0, 3, 1, 2)
    levels = options.levels or 256
    highest = max(int(part.max()) for part in np.array_split(x, max(x.nbytes >> 26, 1)) if part.size)
    if not 2 <= levels <= 256 or highest >= levels:
        raise DataError(f"{path}: holds the value {highest}, but levels is {levels}: give levels={highest + 1} or more")
    channels, height, width = channels_first.shape[1:]
    return torch.from_numpy(channels_first), Images(channels, height, width, levels)


def _channels_first(path: Path, shape: tuple[int, ...]) -> bool:
    """Which axis of a 4-axis array is the channels: 1, 3 or 4 long; where both are, the squarer image, then the last."""
    first, last = shape[1] in (1, 3, 4), shape[3] in (1, 3, 4)
    if not (first or last):
        raise DataError(f"{path}: shape {shape} has no axis of 1, 3 or 4 channels: write (N, H, W, C) or (N, C, H, W)")
    if not (first and last):
        return first
    return abs(shape[2] - shape[3]) < abs(shape[1] - shape[2])


def finite_vectors(x: np.ndarray, where: str, columns: list[str]) -> torch.Tensor:
    """``(N, D)`` numbers as float32, all finite.

    Raises:
        DataError: naming the row (from 1) and column of the first value that is not.
    """
    if x.dtype.kind not in "fiub":
        raise DataError(f"{where}: vectors of {x.dtype} are no real numbers: save them as float32")
    if 0 in x.shape:
        raise DataError(f"{where}: shape {x.shape} holds no values")
    with np.errstate(over="ignore"):
        values = np.ascontiguousarray(x, dtype=np.float32)
    for start in range(0, len(values), 1 << 16):
        bad = np.argwhere(~np.isfinite(values[start : start + (1 << 16)]))
        if len(bad):
            row, column = start + int(bad[0, 0]), int(bad[0, 1])
            raise DataError(f"{where}, row {row + 1}, column {columns[column]}: {_fault(x[row, column])}")
    return torch.from_numpy(values if values.flags.writeable else values.copy())


def _fault(value: np.generic) -> str:
    if np.isnan(value):
        return "is missing (NaN): fill it, or drop the row"
    return f"{value} is not a finite float32: correct it, or drop the row"
