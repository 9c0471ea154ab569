"""Raw examples from arrays, tensors, lists and data frames."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fourfold.core import Space
from fourfold.data import Data, read_all, read_conditions
from fourfold.data.arrays import as_array
from fourfold.data.texts import are_texts

__all__ = ["raw_conditions", "raw_examples"]


def raw_examples(x: Any, space: Space) -> Tensor:
    """An array, a tensor, texts or rows of a data frame as raw examples, see :meth:`fourfold.core.Space.conform`.

    A warning names each change that reading a data frame makes, such as a value that is not in the training data.

    Raises:
        TypeError: for anything else.
    """
    if hasattr(x, "columns") or are_texts(x):
        split, notes = read_all(x, space)
        for note in notes:
            warnings.warn(note, stacklevel=3)
        return split.x
    if isinstance(x, (np.ndarray, list, tuple)):
        x = torch.from_numpy(np.array(as_array(x)))
    if not isinstance(x, Tensor):
        raise TypeError(f"raw examples must be a tensor, an array, texts or a data frame, got {type(x).__name__}")
    return space.conform(x)


def raw_conditions(data: Data, space: Space, index: str | None = None) -> Tensor:
    """Conditions in a file, a folder or a data frame, for a model whose conditions lie in a space.

    A warning names each change that reading makes, such as a value that is not in the training data.

    Args:
        data: the file, folder or data frame.
        space: the space of the conditions.
        index: the column whose values tell which example each row belongs to, if there is one.

    Raises:
        DataError: naming the file, row or column, and the way out.
    """
    x, notes = read_conditions(data, space, index)
    for note in notes:
        warnings.warn(note, stacklevel=3)
    return x
