"""A learned distribution of the noise that turns integer pixel values into reals, as a small conditional flow.

Ho, Chen, Srinivas, Duan, Abbeel 2019, Flow++ (https://arxiv.org/abs/1902.00275).
"""

from __future__ import annotations

from typing import ClassVar, final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fourfold.core import Part
from fourfold.nn.layers import zeroed

__all__ = ["ConvDequantiser"]


@final
class ConvDequantiser(Part, nn.Module):
    """``u = Phi(f(eps; x))`` in (0, 1) for each pixel, by affine couplings on a chessboard.

    The first layer moves every pixel by parameters from the image. Each later layer moves half of the pixels by
    parameters from the image and the other half. At the start ``f`` is the identity, so ``u`` is uniform.

    Args:
        channels: number of channels of the images.
        width: channels of the networks.
        layers: number of layers.
    """

    def __init__(self, channels: int, width: int = 32, layers: int = 3) -> None:
        super().__init__()
        self.nets = nn.ModuleList(_Convolutions(2 * channels, 2 * channels, width) for _ in range(layers))

    def forward(self, x: Tensor, eps: Tensor) -> tuple[Tensor, Tensor]:
        """``u`` and ``log q(u | x)``, ``(B,)``, for centred values ``x`` and normal ``eps``, both ``(B, C, H, W)``."""
        v, log_q = eps, -eps.square().flatten(1).sum(1) / 2
        for i, net in enumerate(self.nets):
            keep = _chessboard(x, i)
            inputs = torch.cat([x, v * keep], 1)
            s, t = net(inputs.to(next(net.parameters()).dtype)).float().chunk(2, 1)
            s, t = 2 * torch.tanh(s / 2) * (1 - keep), t * (1 - keep)
            v, log_q = v * s.exp() + t, log_q - s.flatten(1).sum(1)
        return torch.special.ndtr(v), log_q + v.square().flatten(1).sum(1) / 2


def _chessboard(x: Tensor, layer: int) -> Tensor:
    """A mask of the pixels that a layer leaves unchanged: none for the first, black or white fields for the others."""
    H, W = x.shape[-2:]
    fields = (torch.arange(H, device=x.device)[:, None] + torch.arange(W, device=x.device) + layer) % 2
    return fields.to(x.dtype) if layer else torch.zeros_like(fields, dtype=x.dtype)


@final
class _Convolutions(nn.Module):
    """Three convolutions, whose output is 0 at the start."""

    for_adamw: ClassVar[tuple[str, ...]] = ("entry", "exit")

    def __init__(self, inputs: int, outputs: int, width: int) -> None:
        super().__init__()
        self.entry, self.middle = nn.Conv2d(inputs, width, 3, padding=1), nn.Conv2d(width, width, 3, padding=1)
        self.exit = zeroed(nn.Conv2d(width, outputs, 3, padding=1))

    def forward(self, x: Tensor) -> Tensor:
        return self.exit(F.relu(self.middle(F.relu(self.entry(x)))))
