"""Conditions on rows of a table whose rules are kept, as conditions on its free rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple, cast

import torch
from torch import Tensor

from fourfold.core import ArbitraryConditionals, FreeCodec, GenerativeModel, TokenwiseCodec
from fourfold.spaces import Table
from fourfold.spaces.columns import MISSING
from fourfold.spaces.rules import FreeRows
from fourfold.tasks.rejection import TooFewError

__all__ = ["FreeCondition", "agree", "free_conditions", "free_model", "free_rows_of", "too_few"]


class FreeCondition(NamedTuple):
    """A condition of some rows on their free columns.

    Attributes:
        rows: the numbers of the rows, ``(R,)``.
        y: free rows ``(R, F)``.
        observed: which of their columns are given, ``(F,)``.
        among: codes that other columns are among.
        complete: false if draws may contradict the condition, and are then drawn again.
        distances: free columns that follow from a given value and a base that is drawn, if this alone may contradict.
    """

    rows: Tensor
    y: Tensor
    observed: Tensor
    among: dict[int, Tensor]
    complete: bool
    distances: tuple[int, ...] = ()

    @property
    def impossible(self) -> bool:
        """Whether no row has the given values together."""
        return any(not len(codes) for codes in self.among.values())


def free_model(model: GenerativeModel) -> GenerativeModel | None:
    """The model of the free rows, if the model keeps rules and knows any value given any others."""
    codec = model.codec
    if not isinstance(codec, FreeCodec) or not isinstance(codec.inner, TokenwiseCodec):
        return None
    if not isinstance(model.estimand, ArbitraryConditionals) or not hasattr(model.space, "free_rows"):
        return None
    parts = (model.estimand, model.objective, model.sampler, model.likelihood)
    return GenerativeModel(model.space.free, codec.inner, *parts, model.training_defaults).train(model.training)


def free_rows_of(model: GenerativeModel) -> FreeRows:
    """The rows of a model of a table without the parts that rules decide."""
    return cast("Table", model.space).free_rows


def free_conditions(
    free_rows: FreeRows, x: Tensor, mask: Tensor, restrictions: Mapping[int, Tensor]
) -> Iterator[FreeCondition]:
    """The conditions of rows ``(B, C)``, for those together that have the same observed columns and combinations.

    Args:
        free_rows: of the table.
        x: rows.
        mask: which values are given, ``(B, C)``.
        restrictions: codes that other values are among, by their column.
    """
    combined = torch.zeros(x.shape[1], dtype=torch.bool)
    combined[free_rows.combined] = True
    values = torch.where(combined.to(mask.device), x, (x == MISSING).long())
    sets = torch.cat([mask.long(), torch.where(mask, values, 0)], 1).cpu()
    distinct, group = torch.unique(sets, dim=0, return_inverse=True)
    for g in range(len(distinct)):
        rows = (group == g).nonzero().flatten()
        observed = distinct[g, : x.shape[1]].nonzero().flatten().tolist()
        yield FreeCondition(rows, *free_rows.condition(x[rows.to(x.device)], observed, restrictions))


def agree(x: Tensor, target: Tensor, mask: Tensor, restrictions: Mapping[int, Tensor]) -> Tensor:
    """Which drawn rows have the given values, and the others among their restrictions, bool ``(B,)``."""
    fits = ((x == target) | ~mask).all(1)
    for i, values in restrictions.items():
        fits &= mask[:, i] | torch.isin(x[:, i], values.to(x.device))
    return fits


def too_few(rows: Tensor, free_rows: FreeRows) -> TooFewError:
    """The error for rows whose condition no draw fulfils."""
    texts = "; ".join(rule.text for rule in free_rows.rules)
    return TooFewError(rows, f"no draw has these values, for {len(rows):,} rows: give others ({texts})")
