"""Batches, and conditions: examples of another space, each of which may be unknown."""

from __future__ import annotations

import math
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import torch
from torch import Tensor

from fourfold.machine.libraries import pandas as pd

__all__ = [
    "Batch",
    "Condition",
    "as_condition",
    "forgetful",
    "items_of",
    "numbered",
    "numbers_of",
    "unknown",
    "unknown_like",
]


class Batch(NamedTuple):
    """Encoded examples and their conditions."""

    x: Tensor
    """``(B, *event)``, as the codec encodes them."""
    cond: Tensor | None = None
    """``(B, *space.given.shape)``: raw examples of the space of conditions, see :func:`as_condition`. Some may be
    unknown, see :func:`unknown`. ``None`` means that all are."""


Condition: TypeAlias = Any
"""The condition of samples: one example of the space of conditions for all, one for each, or ``None``. See
:meth:`fourfold.core.Space.conditions`."""


SIGNS = 4
"""How many of the lowest integers are signs of a space, such as that of a missing value in a table."""


def numbers_of(value: Any) -> Tensor:
    """The numbers of a user as a tensor: a number, nested lists of them, an array or a tensor.

    Raises:
        ValueError: for texts, which may be names of files that do not exist, for lists of several lengths, and for
            anything else that is not a number.
    """
    if isinstance(value, Tensor):
        return value
    try:
        array = np.asarray(value)
    except ValueError:  # lists of several lengths
        array = np.array(None)
    if array.dtype.kind in "US" and array.size:
        text = str(array.reshape(-1)[0])[:80]
        raise ValueError(f"the condition must be numbers or a file that exists, a pathlib.Path, got the text {text!r}")
    if array.dtype.kind not in "biuf":
        words = " ".join(str(value).split())[:60]
        raise ValueError(f"the condition must be numbers, equally many for each sample, got {words}; correct it")
    return torch.as_tensor(array if array.flags.writeable else array.copy())


def items_of(value: Any) -> Any:
    """The texts of an array or of a column of a data frame as a list, with ``None`` for each gap. Else the value."""
    if isinstance(value, (Tensor, str)) or not hasattr(value, "tolist"):
        return value
    array = np.asarray(value)
    if array.dtype.kind not in "OU":
        return value
    items = array.astype(object)
    items[pd.isna(items)] = None
    return items.tolist()


def as_condition(x: Tensor) -> Tensor:
    """Raw examples as conditions: unsigned values become int16, which has room for the sign of an unknown one."""
    return x.to(torch.int16) if x.dtype in (torch.uint8, torch.bool) else x


def _sign(dtype: torch.dtype) -> float:
    """The value that stands for "unknown": NaN, or a negative integer that no example holds."""
    return math.nan if dtype.is_floating_point else torch.iinfo(dtype).min + SIGNS


def unknown(cond: Tensor) -> Tensor:
    """True for the rows of conditions ``(B, *)`` that are unknown: ``(B,)``.

    All values of such a row are NaN, or the integer :data:`SIGNS` above the lowest one. A label that is unknown may
    also be -1, see :class:`~fourfold.spaces.Categories`.
    """
    values = as_condition(cond).unsqueeze(-1).flatten(1)
    return (values.isnan() if values.is_floating_point() else values == _sign(values.dtype)).all(1)


def unknown_like(cond: Tensor) -> Tensor:
    """Unknown conditions in the form of others."""
    return torch.full_like(cond, _sign(cond.dtype))


def numbered(cond: Tensor) -> Tensor:
    """A number for each condition ``(B, *)``, the same for equal ones, ``(B,)``. Unknown ones are equal."""
    rows = cond.reshape(len(cond), -1)
    rows = rows.nan_to_num(nan=math.inf) if rows.is_floating_point() else rows  # no condition is infinite
    return torch.unique(rows, dim=0, return_inverse=True)[1]


def forgetful(cond: Tensor | None, share: float) -> Tensor | None:
    """Hide each condition with probability ``share``, so that one network learns two models."""
    if cond is None or share == 0:
        return cond
    hidden = torch.rand(len(cond), *[1] * (cond.ndim - 1), device=cond.device) < share
    return torch.where(hidden, unknown_like(cond), cond)
