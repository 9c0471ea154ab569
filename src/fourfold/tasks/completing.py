"""Complete, score and classify examples of which some values are given."""

from __future__ import annotations

import dataclasses
import math
import warnings
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from fourfold.core import ArbitraryConditionals, Condition, GenerativeModel, LogProb, Noise, TokenwiseCodec
from fourfold.core.evaluations import evaluating
from fourfold.tasks.proposals import MOST, arbitrary, complete_block, prob_block, score_given
from fourfold.tasks.rejection import search

__all__ = [
    "Completed",
    "approximate_note",
    "complete",
    "completions",
    "conditional",
    "log_prob_given",
    "prob_given",
    "weighted_probabilities",
]


class Completed(NamedTuple):
    """Some rows of those that are completed.

    Attributes:
        rows: their numbers, ``(R,)``.
        x: raw examples ``(R, L)``.
        approximate: true for a row whose proposals reached their limit before one was sure to be accepted, ``(R,)``.
    """

    rows: Tensor
    x: Tensor
    approximate: Tensor


def approximate_note(count: int, total: int) -> str:
    """The remark that ``count`` of ``total`` rows are approximate."""
    return (
        f"{count:,} of {total:,} rows are approximate, since {MOST:,} proposals had none that is sure to be accepted: "
        "give fewer values, or train longer"
    )


def complete(
    model: GenerativeModel,
    x: Tensor,
    observed_mask: Tensor,
    restrictions: Mapping[int, Tensor] | None = None,
    cond: Condition = None,
    seed: int = 0,
    batch_size: int = 1024,
) -> Tensor:
    """Draw the missing values of raw examples given the observed ones: ``x_U ~ p(. | x_K, x_i in restrictions_i)``.

    ``p`` is the distribution that the model samples. A model of arbitrary conditionals proposes token by token, the
    restricted ones first, and its joint distribution accepts proposals: see :mod:`fourfold.tasks.proposals`. Any other
    model of discrete values draws whole samples, and those that agree are taken, within a limit.

    Args:
        model: a trained model.
        x: raw examples ``(B, L)``. Values that are not observed may be any.
        observed_mask: true for values that are given, bool ``(B, L)``, or ``(L,)`` for all rows.
        restrictions: for some columns, by their index, the raw values that a missing value is drawn among.
        cond: class labels as in :meth:`~fourfold.core.GenerativeModel.sample`.
        seed: with the index of a row, it fixes the draws.
        batch_size: rows per network call.

    Returns:
        ``(B, L)``, where observed values are unchanged. An observed value that was not in the training data is left out
        of the condition. A warning counts the rows whose draws are approximate.

    Raises:
        ValueError: for shapes that differ, restrictions of which the model can draw no value, or if too few samples
            agree with the observed values.
        TypeError: for a model of densities, of which no sample agrees exactly.
    """
    result, approximate = x.clone(), 0
    for completed in completions(model, x, observed_mask, restrictions, cond, seed, batch_size):
        result[completed.rows] = completed.x.to(x.device)
        approximate += int(completed.approximate.sum())
    if approximate:
        warnings.warn(approximate_note(approximate, len(x)), stacklevel=2)
    return result


def completions(
    model: GenerativeModel,
    x: Tensor,
    observed_mask: Tensor,
    restrictions: Mapping[int, Tensor] | None = None,
    cond: Condition = None,
    seed: int = 0,
    batch_size: int = 1024,
    start: int = 0,
) -> Iterator[Completed]:
    """Complete rows as :func:`complete` does, and yield some of them as soon as they are complete.

    The caller may stop after any of them, so that a long search ends in time. Some have no rows.

    Args:
        model: a trained model.
        x: raw examples ``(B, L)``. Values that are not observed may be any.
        observed_mask: true for values that are given, bool ``(B, L)``, or ``(L,)`` for all rows.
        restrictions: for some columns, by their index, the raw values that a missing value is drawn among.
        cond: class labels as in :meth:`~fourfold.core.GenerativeModel.sample`.
        seed: with the index of a row, it fixes the draws.
        batch_size: rows per network call.
        start: the index of the first row, for completing a long table in parts.

    Raises:
        ValueError, TypeError: as :func:`complete` does, once no more rows can be completed.
    """
    mask = _expanded(x, observed_mask)
    restrictions = {i: values.flatten() for i, values in (restrictions or {}).items()}
    labels = model.space.encode_condition(cond, len(x), model.device)
    if not isinstance(model.estimand, ArbitraryConditionals) or not isinstance(model.codec, TokenwiseCodec):
        if x.is_floating_point() or x.ndim != 2:
            arbitrary(model)
        for rows, samples in search(model, x, mask, restrictions, labels, seed):
            yield Completed(rows, samples, torch.zeros(len(rows), dtype=torch.bool))
        return
    for (low, high), block, block_mask, block_cond in _blocks(model, x, mask, labels, batch_size, start):
        rows = torch.arange(low - start, high - start)
        noise, decoding = (Noise(seed, low, high, name, model.device) for name in ("complete", "decode"))
        with torch.no_grad(), evaluating(model):
            parts = complete_block(model, block, block_mask, restrictions, noise, decoding, block_cond)
        completed, possible, approximate = (part.to(rows.device) for part in parts)
        yield Completed(rows[possible], completed[possible], approximate[possible])
        if not bool(possible.all()):
            raise ValueError(
                f"row {int(rows[~possible][0])}: the model has no row with these observed values and restrictions: "
                "give others"
            )


def prob_given(
    model: GenerativeModel,
    x: Tensor,
    observed_mask: Tensor,
    events: Mapping[int, Tensor],
    cond: Condition = None,
    seed: int = 0,
    batch_size: int = 1024,
    start: int = 0,
) -> Tensor:
    """``P(x_i in events_i | x_K)`` of some columns, ``(B, len(events))`` float64, by weighted draws of all others.

    Each estimate has at least 64 draws, so its standard error is at most 0.06 where the draws have equal weights. A
    warning counts the rows whose draws are too few for this.

    Args:
        model: of arbitrary conditionals.
        x: raw examples ``(B, L)``. Values that are not observed may be any.
        observed_mask: true for values that are given, bool ``(B, L)``, or ``(L,)`` for all rows.
        events: raw values, by the index of their column.
        cond: class labels as in :meth:`~fourfold.core.GenerativeModel.sample`.
        seed: with the index of a row, it fixes the draws.
        batch_size: rows per network call.
        start: the index of the first row, for a long table in parts.

    Raises:
        TypeError: for a model without arbitrary conditionals.
        ValueError: for shapes that differ.
    """
    p, approximate = weighted_probabilities(model, x, observed_mask, events, cond, seed, batch_size, start)
    if approximate.any():
        warnings.warn(approximate_note(int(approximate.sum()), len(x)), stacklevel=2)
    return p


@torch.no_grad()
def weighted_probabilities(
    model: GenerativeModel,
    x: Tensor,
    observed_mask: Tensor,
    events: Mapping[int, Tensor],
    cond: Condition = None,
    seed: int = 0,
    batch_size: int = 1024,
    start: int = 0,
) -> tuple[Tensor, Tensor]:
    """The probabilities of :func:`prob_given`, and true for approximate rows, bool ``(B,)``, instead of a warning."""
    mask, parts = _expanded(x, observed_mask), []
    labels = model.space.encode_condition(cond, len(x), model.device)
    with evaluating(model):
        for (low, high), block, block_mask, block_cond in _blocks(model, x, mask, labels, batch_size, start):
            noise = Noise(seed, low, high, "probability", model.device)
            parts.append(prob_block(model, block, block_mask, events, noise, block_cond))
    p, approximate = zip(*parts, strict=True)
    return torch.cat(p).cpu(), torch.cat(approximate).cpu()


@torch.no_grad()
def log_prob_given(
    model: GenerativeModel, x: Tensor, observed_mask: Tensor, cond: Condition = None, batch_size: int = 1024
) -> LogProb:
    """``log q(x_U | x_K)`` of the values that are not observed given the observed ones, in nats per raw example.

    ``q`` is the chain rule over the conditionals of the network. Without observed values it is ``p(x)``. Else it is
    ``p(x_U | x_K)`` only as far as conditionals of different orders agree.

    Args:
        model: of arbitrary conditionals.
        x: raw examples ``(B, L)``.
        observed_mask: true for values that are given, bool ``(B, L)``, or ``(L,)`` for all rows.
        cond: class labels as in :meth:`~fourfold.core.GenerativeModel.sample`.
        batch_size: rows per network call.

    Raises:
        TypeError: for a model without arbitrary conditionals.
        ValueError: if ``x`` does not belong to the space, or for shapes that differ.
    """
    estimand, codec = arbitrary(model)
    model.space.check(x)
    mask = _expanded(x, observed_mask)
    labels = model.space.encode_condition(cond, len(x), model.device)
    with evaluating(model):
        parts = [
            score_given(estimand, codec, block, block_mask, block_cond)
            for _, block, block_mask, block_cond in _blocks(model, x, mask, labels, batch_size)
        ]
    result = LogProb.cat(parts)
    return dataclasses.replace(
        result, nats=result.nats.cpu(), dims=math.prod(x.shape[1:]), outside=model.space.outside(x)
    )


@torch.no_grad()
def conditional(
    model: GenerativeModel,
    x: Tensor,
    observed_mask: Tensor,
    column: int,
    cond: Condition = None,
    batch_size: int = 1024,
) -> Tensor:
    """``log q(x_column | x_K)`` of each token of one column, ``(B, K)``: token ``k`` is category ``k``.

    It is the network's own conditional, as in :func:`log_prob_given`.

    Args:
        model: of arbitrary conditionals.
        x: raw examples ``(B, L)``.
        observed_mask: true for values that are given, bool ``(B, L)``, or ``(L,)`` for all rows.
        column: the index of the column, which counts as not observed.
        cond: class labels as in :meth:`~fourfold.core.GenerativeModel.sample`.
        batch_size: rows per network call.

    Raises:
        TypeError: for a model without arbitrary conditionals.
        ValueError: for shapes that differ.
    """
    estimand, codec = arbitrary(model)
    mask = _expanded(x, observed_mask).index_fill(1, torch.tensor([column], device=observed_mask.device), False)
    labels = model.space.encode_condition(cond, len(x), model.device)
    parts = []
    with evaluating(model):
        for _, block, block_mask, block_cond in _blocks(model, x, mask, labels, batch_size):
            z, log_mass = codec.tokenize(block)
            parts.append(estimand.conditional(z, block_mask & torch.isfinite(log_mass), column, block_cond))
    return torch.cat(parts)


def _blocks(
    model: GenerativeModel, x: Tensor, mask: Tensor, labels: Tensor | None, batch_size: int, start: int = 0
) -> Iterator[tuple[tuple[int, int], Tensor, Tensor, Tensor | None]]:
    """The first index of some rows and the one behind them, then the rows, their mask and labels on the device."""
    for low, high in Noise.spans(start, start + len(x), batch_size):
        rows = slice(low - start, high - start)
        cond = None if labels is None else labels[rows]
        yield (low, high), x[rows].to(model.device), mask[rows].to(model.device), cond


def _expanded(x: Tensor, observed_mask: Tensor) -> Tensor:
    """The mask of every row, after a check of its shape and dtype (``ValueError``)."""
    if observed_mask.dtype != torch.bool or observed_mask.shape not in (x.shape, x.shape[1:]):
        raise ValueError(
            f"observed_mask must be bool of shape {tuple(x.shape)}, or {tuple(x.shape[1:])} for all rows, got "
            f"{observed_mask.dtype} of shape {tuple(observed_mask.shape)}"
        )
    return observed_mask.expand(x.shape)
