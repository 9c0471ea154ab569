"""Captions of pictures, by a model that tells ``p(caption | picture)``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from fourfold.core import CaptionConditionals, GenerativeModel, Noise, decode_captions, encode_captions
from fourfold.core.evaluations import evaluating

__all__ = ["Caption", "caption", "caption_nats"]

BATCH = 64
"""Pictures per network call."""


@dataclass(frozen=True)
class Caption:
    """A caption and the exact log-mass of its pieces given the picture's tokens, in nats.

    Other pieces may spell the same letters, so it is a lower bound on the mass of the letters.
    """

    text: str
    nats: float


def _pair(model: GenerativeModel) -> CaptionConditionals:
    """The estimand of a model of pictures and captions.

    Raises:
        TypeError: for another model.
    """
    if not isinstance(model.estimand, CaptionConditionals):
        raise TypeError(
            f"this {model.paradigm} model tells nothing of captions given pictures: "
            "train latent-autoregressive/multimodal on captioned images (--conditional)"
        )
    return model.estimand


@torch.no_grad()
def caption(
    model: GenerativeModel, x: Tensor, draws: int = 8, temperature: float = 0.5, seed: int = 0
) -> list[Caption]:
    """A caption of each raw picture ``(B, C, H, W)``: the likeliest of several draws of ``p(T | I)``.

    Args:
        model: of pictures and captions.
        x: raw pictures.
        draws: captions drawn for each, at a temperature below 1, which prefers likely ones.
        temperature: logits are divided by it.
        seed: seed of the draws.
    """
    pair, found = _pair(model), []
    with evaluating(model):
        for start in range(0, len(x), BATCH):
            z = _codes(model, x, start)
            streams = (Noise(seed, start, start + len(z), f"caption {i}", model.device) for i in range(draws))
            told = torch.stack([pair.describe(z, noise, temperature) for noise in streams], 1)
            nats = torch.stack([pair.log_caption(z, one) for one in told.unbind(1)], 1)
            best = nats.argmax(1, keepdim=True)
            texts = decode_captions(told.take_along_dim(best.unsqueeze(-1), 1).squeeze(1))
            found += [Caption(*pairs) for pairs in zip(texts, nats.amax(1).tolist(), strict=True)]
    return found


def _codes(model: GenerativeModel, x: Tensor, start: int) -> Tensor:
    """Tokens of the pictures of one batch."""
    part = x[start : start + BATCH].to(model.device)
    return model.codec.encode(part, Noise(0, start, start + len(part), "score", model.device))[0]


@torch.no_grad()
def caption_nats(model: GenerativeModel, x: Tensor, captions: Sequence[str]) -> Tensor:
    """``log p(T_k | I_b)`` of given captions for each raw picture, ``(B, K)`` in nats: the exact mass of their pieces.

    Raises:
        ValueError: for an empty caption, or one that is too long.
    """
    pair, rows = _pair(model), []
    if not all(captions):
        raise ValueError("a caption is empty: give words")
    codes = encode_captions(captions, pair.caption).to(model.device)
    with evaluating(model):
        for start in range(0, len(x), BATCH):
            z = _codes(model, x, start)
            rows.append(torch.stack([pair.log_caption(z, one.expand(len(z), -1)) for one in codes], 1).cpu())
    return torch.cat(rows)
