"""Class labels: from any values to ids ``0 .. K-1`` with names."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from fourfold.data.errors import DataError
from fourfold.machine.libraries import pandas as pd
from fourfold.machine.libraries import pyarrow
from fourfold.output.printable import shortened
from fourfold.spaces.categories import Categories

__all__ = ["alike", "encode_labels", "places_in"]


def alike(name: str, columns: Iterable[str]) -> str:
    """The column that may be meant, and those that there are."""
    names = list(columns)
    close = difflib.get_close_matches(name, names, 1)
    guess = f"did you mean {close[0][:80]!r}? It" if close else "it"
    return f"{guess} has {shortened(names)}"


def encode_labels(values: np.ndarray, n: int, where: str) -> tuple[Tensor, Categories]:
    """Ids ``(N,)`` int64 of the distinct values in sorted order, and the categories.

    Args:
        values: one per example: integers, whole floats, booleans or strings.
        n: the number of examples.
        where: file and column or key, for messages.

    Raises:
        DataError: for another number of labels than examples, missing labels, fractions, or characters that are none.
    """
    values = values[:, 0] if values.ndim == 2 and values.shape[1] == 1 else values
    if values.shape != (n,):
        raise DataError(f"{where}: labels must have shape ({n},), one for each example, got {values.shape}")
    try:
        distinct, ids = np.unique(_comparable(values, where), return_inverse=True)
        names = tuple(str(value) for value in distinct.tolist())
    except DataError:
        raise
    except SystemError as error:  # a text array with a code point that does not exist
        raise DataError(f"{where}: labels must hold whole characters, got others ({error}): save them again") from None
    except (TypeError, ValueError) as error:
        reason = " ".join(str(error).split())[:120]
        raise DataError(f"{where}: labels must be whole numbers or names, got others ({reason})") from None
    return torch.from_numpy(ids.astype(np.int64)), Categories(names)


def _comparable(values: np.ndarray, where: str) -> np.ndarray:
    """Values that can be sorted. Floats must be whole numbers."""
    if values.dtype.kind in "bui":
        return values
    if values.dtype.kind == "f":
        bad = np.flatnonzero(~(np.abs(values) < 2**53) | (values != np.round(values)))
        if len(bad):
            raise DataError(f"{where}, row {bad[0] + 1}: label must be a whole number or a name, got {values[bad[0]]}")
        return values.astype(np.int64)
    missing = [i for i, value in enumerate(values.tolist()) if value is None or value != value]  # noqa: PLR0124
    if missing:
        raise DataError(f"{where}, row {missing[0] + 1}: must have a label, got none: fill it, or drop the row")
    return values.astype(str)


def places_in(keys: pd.Series, values: pd.Series) -> npt.NDArray[np.int64]:
    """The place of each value among some keys, ``(N,)``: -1 where none equals it. Both are texts.

    Arrow looks them up. pandas would make an object of each.
    """
    texts, distinct = (pyarrow.array(part, pyarrow.large_string()) for part in (values, keys))
    places = pyarrow.compute.index_in(texts, value_set=distinct, skip_nulls=True).fill_null(-1)
    return np.asarray(places, dtype=np.int64)
