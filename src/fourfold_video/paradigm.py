"""Autoregressive models of clips by maximum likelihood of a few frames at a time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, final

import torch
import torch.nn.functional as F
from torch import Tensor

from fourfold.core import Batch, Estimand, SingleLoss, forgetful
from fourfold.paradigms.pixels import PixelConditionals
from fourfold.vocabulary import Principle

__all__ = ["FrameLikelihood"]


@final
class FrameLikelihood(SingleLoss):
    """``min_theta -E [log P(frame_0 | c) + sum_t log P(frame_t | frame_<t, c)] / L``, of a few frames a clip.

    The first frame is always scored, and ``later`` others that are drawn anew for every clip stand for all of them, so
    the loss has the same mean as that of whole clips. Later frames are nearly copies, and teach little more together.

    Args:
        later: later frames that are scored of a clip.
        label_dropout: share of labels that training hides, so that the model also learns the distribution without one.
    """

    learns: ClassVar[type[Estimand]] = PixelConditionals
    principle = Principle.LIKELIHOOD
    summary = "maximise the log-likelihood of each pixel given the earlier ones, in the first and a few later frames"
    formula = "min_θ −log p_θ(frame_0) − (T − 1) E_t log p_θ(frame_t | frame_<t)"
    term, judges = "likelihood", True

    def __init__(self, later: int = 1, label_dropout: float = 0.1) -> None:
        super().__init__(label_dropout)
        self.later = later

    def loss(self, estimand: PixelConditionals, batch: Batch) -> tuple[Tensor, Mapping[str, Tensor]]:
        cond, colours = forgetful(batch.cond, self.label_dropout), estimand.colours
        frames = batch.x.shape[1] // colours
        later = min(self.later, frames - 1)
        times = 1 + torch.rand(len(batch.x), frames - 1, device=batch.x.device).argsort(1)[:, :later]
        times = F.pad(times, (1, 0))
        planes = (times[..., None] * colours + torch.arange(colours, device=times.device)).flatten(1)
        nats = -estimand.of_planes(batch.x, planes, cond).sum(2)
        first, rest = nats[:, :colours].sum(1), nats[:, colours:].sum(1)
        return (first + rest * ((frames - 1) / max(later, 1))) / batch.x[0].numel(), {}
