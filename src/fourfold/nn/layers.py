"""Layers with the initial weights that several networks share, and images as patches."""

from __future__ import annotations

import math
from typing import TypeVar

import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["convolution", "images", "linear", "patches", "soft_clamp", "squeeze", "unsqueeze", "zeroed"]

L = TypeVar("L", bound=nn.Module)


def convolution(inputs: int, outputs: int, size: int | tuple[int, int] = 3, gain: float = 1.0) -> nn.Conv2d:
    """A convolution that keeps height and width, with weights of variance ``gain^2 / fan_in`` and no bias at first."""
    height, width = (size, size) if isinstance(size, int) else size
    layer = nn.Conv2d(inputs, outputs, (height, width), padding=(height // 2, width // 2))
    nn.init.normal_(layer.weight, std=gain / math.sqrt(inputs * height * width))
    nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
    return layer


def linear(inputs: int, outputs: int, gain: float = 1.0) -> nn.Linear:
    """A full matrix with weights of variance ``gain^2 / inputs``, and no bias at first."""
    layer = nn.Linear(inputs, outputs)
    nn.init.normal_(layer.weight, std=gain / math.sqrt(inputs))
    nn.init.zeros_(layer.bias)
    return layer


def zeroed(layer: L) -> L:
    """The layer with weights and biases of zero."""
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)
    return layer


def patches(x: Tensor, side: int, multiple: int | None = None) -> Tensor:
    """Images ``(B, C, H, W)`` to patches, ``(B, C p p, H / p, W / p)``.

    Args:
        x: the images.
        side: side ``p`` of a patch.
        multiple: height and width are padded by edge values to a multiple of it. By default of ``p``.
    """
    multiple = side if multiple is None else multiple
    right, below = -x.shape[3] % multiple, -x.shape[2] % multiple
    if right or below:
        x = F.pad(x, (0, right, 0, below), mode="replicate")
    return F.pixel_unshuffle(x, side) if side > 1 else x


def squeeze(x: Tensor, p: int, q: int) -> Tensor:
    """Patches of ``p`` by ``q`` pixels as channels: ``(B, C, H, W)`` to ``(B, C p q, H / p, W / q)``."""
    B, C, H, W = x.shape
    return x.reshape(B, C, H // p, p, W // q, q).permute(0, 1, 3, 5, 2, 4).reshape(B, C * p * q, H // p, W // q)


def unsqueeze(x: Tensor, p: int, q: int) -> Tensor:
    """The inverse of :func:`squeeze`."""
    B, C, H, W = x.shape
    return x.reshape(B, C // (p * q), p, q, H, W).permute(0, 1, 4, 2, 5, 3).reshape(B, -1, H * p, W * q)


def soft_clamp(x: Tensor) -> Tensor:
    """``x`` within [-1, 1], and a tenth of the excess beyond: almost bounded, with a gradient everywhere.

    A ``tanh`` loses its gradient where it saturates, and then the generator of a GAN learns nothing more.
    """
    inside = x.clamp(-1, 1)
    return inside + 0.1 * (x - inside)


def images(h: Tensor, side: int, height: int, width: int) -> Tensor:
    """Patches to images of a height and a width: the inverse of :func:`patches`."""
    x = F.pixel_shuffle(h, side) if side > 1 else h
    return x[:, :, :height, :width]
