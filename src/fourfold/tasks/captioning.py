"""Captions of pictures, by a model of ``p(caption | picture)``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from fourfold.core import CaptionConditionals, GenerativeModel, Noise
from fourfold.core.evaluations import evaluating
from fourfold.spaces import Lines
from fourfold.tasks.examples import raw_examples

__all__ = ["Caption", "caption", "caption_nats"]

BATCH = 64
"""Pictures per network call."""


@dataclass(frozen=True)
class Caption:
    """A caption and the exact log-mass of its tokens given the picture's tokens, in nats.

    Other tokens may spell the same letters, so it is a lower bound on the mass of the letters.
    """

    text: str
    nats: float


def _pair(model: GenerativeModel) -> tuple[CaptionConditionals, Lines]:
    """The estimand of a model of pictures and captions, and the space of captions.

    Raises:
        TypeError: for another model.
    """
    if not isinstance(model.estimand, CaptionConditionals) or not isinstance(model.space.given, Lines):
        raise TypeError(
            f"the model must be of captions given pictures, got {model.paradigm}: "
            "train latent-autoregressive/multimodal on captioned images (--conditional)"
        )
    return model.estimand, model.space.given


@torch.no_grad()
def caption(model: GenerativeModel, x: Any, draws: int = 8, temperature: float = 0.5, seed: int = 0) -> list[Caption]:
    """A caption of each raw picture ``(B, C, H, W)``: the likeliest of several draws of ``p(T | I)``.

    Args:
        model: of pictures and captions.
        x: raw pictures, as a tensor or an array.
        draws: captions drawn for each picture.
        temperature: logits are divided by it. Below 1, likely captions are preferred.
        seed: seed of the draws.
    """
    (pair, spoken), x, captions = _pair(model), raw_examples(x, model.space), list[Caption]()
    with evaluating(model):
        for start in range(0, len(x), BATCH):
            z = _codes(model, x, start)
            streams = (Noise(seed, start, start + len(z), f"caption {i}", model.device) for i in range(draws))
            codes = torch.stack([pair.describe(z, noise, temperature) for noise in streams], 1)
            nats = torch.stack([pair.log_caption(z, code) for code in codes.unbind(1)], 1)
            best = nats.argmax(1, keepdim=True)
            texts = spoken.strings(codes.take_along_dim(best.unsqueeze(-1), 1).squeeze(1).cpu())
            captions += map(Caption, texts, nats.amax(1).tolist())
    return captions


def _codes(model: GenerativeModel, x: Tensor, start: int) -> Tensor:
    """Tokens of the pictures of one batch."""
    part = x[start : start + BATCH].to(model.device)
    return model.codec.encode(part, Noise(0, start, start + len(part), "score", model.device))[0]


@torch.no_grad()
def caption_nats(model: GenerativeModel, x: Tensor, captions: Sequence[str]) -> Tensor:
    """``log p(T_k | I_b)`` of given captions for each raw picture, ``(B, K)`` in nats: the exact mass of their tokens.

    Raises:
        ValueError: for an empty caption, or one that is too long.
        TypeError: for another model.
    """
    (pair, spoken), rows = _pair(model), []
    if not all(captions):
        raise ValueError("captions must have words, got an empty one: leave it out")
    codes = spoken.conditions(captions, len(captions)).to(model.device)
    with evaluating(model):
        for start in range(0, len(x), BATCH):
            z = _codes(model, x, start)
            rows.append(torch.stack([pair.log_caption(z, code.expand(len(z), -1)) for code in codes], 1).cpu())
    return torch.cat(rows)
