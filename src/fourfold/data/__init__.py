"""Data: built-in sets and one's own files, checked, split by a seed and named by a digest."""

from __future__ import annotations

import difflib
import os
from pathlib import Path

from fourfold.data.builtin import BUILTIN
from fourfold.data.dataset import DataError, Dataset, Density, Options, Source, Split, assemble, describe
from fourfold.data.densities import Checkerboard, GaussianMixture
from fourfold.data.oracles import GaussianDenoiser, GaussianTransport, MixtureDenoiser
from fourfold.data.readers import read

__all__ = [
    "Checkerboard",
    "DataError",
    "Dataset",
    "Density",
    "GaussianDenoiser",
    "GaussianMixture",
    "GaussianTransport",
    "MixtureDenoiser",
    "Split",
    "describe",
    "load",
    "names",
]


def names() -> list[str]:
    """The names of the built-in sets."""
    return list(BUILTIN)


def load(
    name_or_path: str | os.PathLike[str],
    *,
    seed: int = 0,
    data_dir: str | os.PathLike[str] | None = None,
    conditional: bool = False,
    skip_bad: bool = False,
    limit: int | None = None,
    labels: str | os.PathLike[str] | None = None,
    length: int = 256,
    fractions: tuple[float, ...] | None = None,
    size: int | tuple[int, int] | None = None,
    channels: int | None = None,
    levels: int | None = None,
    as_bytes: bool | None = None,
) -> Dataset:
    """Load a built-in set, a file or a folder; refuse it with one clear line if it cannot be trained on.

    Args:
        name_or_path: a name of :func:`names`; a text file; a folder of PNG, JPEG or WebP images (sub-folders are
            classes); ``.npy`` or ``.npz`` (images uint8 ``(N, H, W)``, ``(N, H, W, C)`` or ``(N, C, H, W)``; vectors
            ``(N, D)``); ``.csv``, ``.tsv`` or ``.parquet`` of numbers.
        seed: draws sampled sets and splits.
        data_dir: where the files of Fashion-MNIST or the packages of ``emoji`` are.
        conditional: give the splits their labels and the space its classes; or captions, where examples have those.
        skip_bad: leave out images that cannot be read, and list them in ``dataset.skipped``.
        limit: use at most this many examples, or the first so many tokens of a text.
        labels: the label column of a table, the label array of an ``.npz``, the label file of an ``.npy``.
        length: tokens in a window of text.
        fractions: shares of train, validation and test; two shares make validation and test the same examples. By
            default 0.8, 0.1, 0.1 drawn by the seed, and for text 0.9, 0.05, 0.05 by position. An official test set
            stays the test set.
        size: resize images to this height and width (the shorter side is scaled, the rest is cut off evenly).
        channels: convert images to grey (1) or colour (3).
        levels: how many values a pixel of an array takes, if fewer than 256.
        as_bytes: read a text as bytes (``True``) or as characters (``False``) whatever it holds.

    Raises:
        DataError: naming the file, row, column or argument, and the way out.
    """
    if limit is not None and limit < 1:
        raise DataError(f"limit {limit} leaves nothing: give at least 1")
    options = Options(
        seed,
        None if data_dir is None else os.fspath(data_dir),
        conditional,
        skip_bad,
        limit,
        None if labels is None else os.fspath(labels),
        length,
        fractions,
        (size, size) if isinstance(size, int) else size,
        channels,
        levels,
        as_bytes,
    )
    name = os.fspath(name_or_path)
    return assemble(name, _source(name, options), options)


def _source(name: str, options: Options) -> Source:
    """The source a name or a path stands for."""
    if name in BUILTIN:
        options.only(f"{name}, a built-in set", *(("as_bytes",) if name == "python-docs" else ()))
        return BUILTIN[name](options)
    path = Path(name).expanduser()
    if path.exists():
        return read(path, options)
    if path.suffix or len(path.parts) > 1:
        raise DataError(f"{name}: there is no such file or folder")
    close = difflib.get_close_matches(name.lower().replace("_", "-").replace(" ", "-"), BUILTIN, 1, 0.4)
    guess = f"did you mean {close[0]}? " if close else ""
    raise DataError(f"{name!r} is neither a built-in set nor a file: {guess}Built in are {', '.join(BUILTIN)}")
