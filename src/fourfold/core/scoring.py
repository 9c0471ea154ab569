"""The log-probability of one block of raw examples: codec and likelihood together."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from fourfold.core.conditions import Batch
from fourfold.core.edges import view
from fourfold.core.evaluations import count_evaluations
from fourfold.core.log_prob import LogProb
from fourfold.core.noise import Noise
from fourfold.vocabulary import Kind

if TYPE_CHECKING:
    from fourfold.core.model import GenerativeModel

__all__ = ["score_block"]


def score_block(model: GenerativeModel, x: Tensor, cond: Tensor | None, noise: Noise, draws: int) -> LogProb:
    """The log-probability of raw examples ``(B, *shape)``; where the codec draws, the mean over draws.

    Args:
        model: in evaluation mode.
        x: raw examples on the model's device.
        cond: their labels ``(B,)`` or captions ``(B, L)``.
        noise: the stream of these examples.
        draws: number of draws, where the codec draws.
    """
    with count_evaluations(model.estimand) as count:
        result = _draw(model, x, cond, noise)
        if model.codec.random and result.kind is not Kind.NONE:
            others = [_draw(model, x, cond, noise) for _ in range(draws - 1)]
            result = LogProb.of_whole_draws([result, *others])
    kind, note = model.codec.kind_of_raw(result.kind, result.note)
    return dataclasses.replace(
        result,
        nats=result.nats.cpu(),
        variance=None if result.variance is None else result.variance.cpu(),
        kind=kind,
        note=note,
        byte_counts=model.space.byte_counts(x.cpu()),
        row_counts=model.space.row_counts(x.cpu()),
        outside=model.space.outside(x.cpu()),
        dims=math.prod(x.shape[1:]),
        evaluations=count.rows / max(len(noise), 1),
    )


def _draw(model: GenerativeModel, x: Tensor, cond: Tensor | None, noise: Noise) -> LogProb:
    """One draw of the codec, and the likelihood of its code."""
    with torch.no_grad():
        z, log_det = model.codec.encode(x, noise)
    likelihood = model.likelihood
    result = likelihood(view(model.estimand, likelihood.needs), Batch(z, cond), noise, model.objective)
    return dataclasses.replace(result, nats=result.nats + log_det)
