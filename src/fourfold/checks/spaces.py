"""Checks of spaces."""

from __future__ import annotations

import math
import tempfile
from contextlib import suppress
from pathlib import Path as FilePath

import torch
from torch import Tensor

from fourfold.checks.base import CheckFailed, refuses, require
from fourfold.core import LogProb, Picture, Space, configuration, construct
from fourfold.data import DataError, read_all
from fourfold.data.writers import as_lines, write_examples
from fourfold.metrics import References, choose_draws
from fourfold.vocabulary import Kind

__all__ = ["check_space"]


def check_space(space: Space, n: int = 64) -> None:
    """A space accepts its own examples, is rebuilt from its configuration, and reads, writes and measures them.

    A space without measures passes too. Models of it are only trained, sampled and scored.

    Args:
        space: the space.
        n: number of examples that are measured and written.
    """
    x, again = (space.examples(4 * n, torch.Generator().manual_seed(0)) for _ in range(2))
    require(x.shape == (4 * n, *space.shape), f"examples have shape {tuple(x.shape)}, not {(4 * n, *space.shape)}")
    require(torch.equal(x, again), "one generator gave other examples the second time")
    space.check(x)
    refuses(space.check, x.unsqueeze(1), f"a batch of shape {tuple(x.unsqueeze(1).shape)}")
    require(construct(configuration(space)) == space, "the space changes in a round trip of its configuration")
    bare = space.conditioned_on(None)
    require(not bare.conditional and bare.fits(space), f"without conditions it is {bare!r}")
    LogProb(torch.zeros(1), Kind.EXACT, space.dims).in_unit(space.unit)
    raw = x if space.window is None else x.flatten(0, 1)
    require(torch.equal(space.rows(raw), x), "the rows of a raw set are not its examples")
    require(
        torch.equal(space.conform(raw), raw) and torch.equal(space.conform(raw, bare), raw), "conform changes examples"
    )
    _check_files(space, x[:n])
    require(isinstance(space.picture(x[:n]), Picture), "picture returns neither a Sheet, a Cloud, Excerpts nor Clips")
    _check_draws(space, x, n)
    if type(space).measures is not Space.measures:
        _check_measures(space, raw, x, n)


def _check_files(space: Space, x: Tensor) -> None:
    """Every format that the space has is written, and arrays and tables of rows are read as they were written."""
    with tempfile.TemporaryDirectory() as folder:
        for suffix in (".npy", ".npz", ".csv", ".parquet", *space.writers()):
            path = write_examples(FilePath(folder) / f"examples{suffix}", x, space)
            require(path.exists(), f"nothing was written as {suffix or 'a folder'}")
            vectors = len(space.shape) == 1 and suffix in (".csv", ".parquet") and ".txt" not in space.writers()
            if space.window is None and (vectors or suffix in (".npy", ".npz")):
                try:
                    result = read_all(path, space)[0].x
                except DataError:  # the numbers of an array need not be values of named columns
                    require(bool(space.columns) and suffix in (".npy", ".npz"), f"{suffix} is refused")
                    continue
                require(
                    result.dtype == x.dtype and torch.allclose(result, x), f"{suffix} is not read as it was written"
                )
    require(bool(as_lines(x[:2], space)), "nothing is written to standard output")


def _check_draws(space: Space, x: Tensor, n: int) -> None:
    """Coordinates, and the measures and pictures of several draws for each condition."""
    points = space.coordinates(x)(x[:n])
    require(points.ndim == 2 and len(points) == n, f"coordinates are {tuple(points.shape)}, not ({n}, D)")
    require(bool(torch.isfinite(points).all()), "coordinates are not finite")
    names, values = space.quantities(x[:n])
    require(values.shape == (n, len(names)), f"{len(names)} quantities have the shape {tuple(values.shape)}")
    draws, truth = x[: n // 2 * 2].reshape(n // 2, 2, *space.shape), x[-(n // 2) :]
    for score in space.conditional_measures(draws, truth, x):
        require(math.isfinite(score.value) and bool(score.name and score.protocol), f"{score} is not a measurement")
    for picture in (space.picture_of_one(x[0]), space.picture_of_draws(draws[0], truth[0], x)):
        require(isinstance(picture, Picture), "a picture of a condition or of draws is not a picture")


def _check_measures(space: Space, raw: Tensor, x: Tensor, n: int) -> None:
    """Each measure has a name and a finite value. An unknown feature space is refused before any measurement."""
    references = References(choose_draws(x[n:], n), x[:n], None, x[n : 2 * n], raw)
    metrics = list(space.measures(x[-n:], references))
    require(len(metrics) > 0, "there are no measures")
    for score in metrics:
        require(math.isfinite(score.value) and bool(score.name and score.protocol), f"{score} is not a measurement")
    require(
        metrics[0].better in ("lower", "higher", "nearer"),
        f"the headline {metrics[0].name} does not say what is better",
    )
    with suppress(ValueError):
        space.check_features("no-such-features")
        raise CheckFailed("a feature space that does not exist was accepted")
