"""A U-Net of clips: convolutions in space, convolutions in time, and attention among all places and times.

Frames share all weights, and what mixes them is a layer of its own (Ho, Salimans, Gritsenko, Chan, Norouzi, Fleet 2022,
Video Diffusion Models, https://arxiv.org/abs/2204.03458). A residual block is a convolution in space followed by one in
time (Tran, Wang, Torresani, Ray, LeCun, Paluri 2018, https://arxiv.org/abs/1711.11248). The coarsest stage is a
transformer (Hoogeboom, Heek, Salimans 2023, https://arxiv.org/abs/2301.11093).

A patch has many values. Noise fills all their dimensions, and clean clips fill few. The input is added to the output,
times a factor that depends on the noise level. So no layer has to carry the noise, and the layers predict the clean
clip alone (Li, He 2025, Back to Basics, https://arxiv.org/abs/2511.13720).
"""

from __future__ import annotations

import math
from typing import ClassVar, final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fourfold.core import Part, Reading
from fourfold.nn.embedding import Condition, with_detail
from fourfold.nn.entry import Maps
from fourfold.nn.layers import convolution, images, patches, zeroed
from fourfold.nn.transformer import TransformerBlock

__all__ = ["VideoUNet"]


@final
class SpaceTimeBlock(nn.Module):
    """``h + W_time phi((1 + a) W_space phi(h) + b)`` with ``phi`` = SiLU and ``(a, b)`` of the condition.

    ``W_space`` is a 3 x 3 convolution of every frame, and ``W_time`` one of 3 frames at every place, zero at the start.

    Args:
        width: channels.
        condition: length of the condition's vector.
    """

    block: ClassVar[bool] = True
    """Whether a large one is a unit of ``fsdp`` and of recomputation."""

    def __init__(self, width: int, condition: int) -> None:
        super().__init__()
        self.space = convolution(width, width, gain=1.5)
        self.time = convolution(width, width, (3, 1), gain=0.0)
        self.modulation = zeroed(nn.Linear(condition, 2 * width))

    def forward(self, h: Tensor, c: Tensor) -> Tensor:
        """``(B · T, C, H, W)`` and ``(B, condition)`` to ``(B · T, C, H, W)``."""
        frames = len(h) // len(c)
        a, b = self.modulation(c).repeat_interleave(frames, 0)[:, :, None, None].chunk(2, 1)
        y = F.silu(torch.addcmul(b, self.space(F.silu(h)), 1 + a))
        return h + _as_frames(self.time(_as_rows(y, len(c))), h.shape)


def _as_rows(h: Tensor, clips: int) -> Tensor:
    """Frames ``(B · T, C, H, W)`` as rows of images ``(B, C, T, H · W)``. The memory stays if channels are last."""
    return h.reshape(clips, -1, *h.shape[1:]).transpose(1, 2).flatten(3)


def _as_frames(h: Tensor, shape: torch.Size) -> Tensor:
    """The inverse of :func:`_as_rows`."""
    return h.transpose(1, 2).reshape(shape)


@final
class VideoUNet(Part, nn.Module):
    """Clips, times and labels to clips: ``(B, T · C, H, W), (B,), (B,)`` to ``(B, T · C, H, W)``, float32.

    Clips are cut into patches of ``span`` frames and ``patch x patch`` pixels. Blocks of convolutions work at that
    resolution, and a transformer of all places and times at half of it. Sizes that the strides do not divide are padded
    by edge values and cut back. The output starts at zero: ``g(c) x`` and the last layer do.

    Args:
        shape: ``(T · C, H, W)`` of a clip.
        frames: ``T``.
        widths: channels of the convolutions, and of the transformer.
        blocks: residual blocks on the way down and again on the way up, and blocks of the transformer.
        heads: attention heads. Must divide the second width.
        patch: side of a patch in pixels.
        span: frames of a patch.
        reading: reads the condition, or ``None``.
        times: 1, or 2 for times ``(B, 2)``.

    Raises:
        ValueError: if ``heads`` does not divide the transformer's width.
    """

    for_adamw: ClassVar[tuple[str, ...]] = ("stem", "head", "skip", "place", "moment")

    def __init__(
        self,
        shape: tuple[int, int, int],
        frames: int,
        widths: tuple[int, int] = (128, 192),
        blocks: tuple[int, int] = (2, 4),
        heads: int = 3,
        patch: int = 4,
        span: int = 1,
        reading: Reading | None = None,
        times: int = 1,
    ) -> None:
        super().__init__()
        fine, coarse = widths
        channels, height, width = shape
        self.frames, self.patch, self.span, values = frames, patch, span, channels // frames * span * patch**2
        places = math.ceil(height / (2 * patch)) * math.ceil(width / (2 * patch))
        self.condition = Condition(coarse, reading, times)
        self.stem = convolution(3 * values, fine)
        self.maps = Maps(reading, math.ceil(frames / span) * fine, patch, 2 * patch)  # those of each frame are its own
        self.down = nn.ModuleList(SpaceTimeBlock(fine, coarse) for _ in range(blocks[0]))
        self.coarser = convolution(4 * fine, coarse, 1)
        self.place = nn.Parameter(0.5 * torch.randn(places, coarse))
        self.moment = nn.Parameter(0.5 * torch.randn(math.ceil(frames / span), 1, coarse))
        self.trunk = nn.ModuleList(TransformerBlock(coarse, heads, coarse) for _ in range(blocks[1]))
        self.finer = convolution(coarse, 4 * fine, 1)
        self.up = nn.ModuleList(SpaceTimeBlock(fine, coarse) for _ in range(blocks[0]))
        self.head = convolution(fine, values, gain=0.0)
        self.skip = zeroed(nn.Linear(coarse, 1))

    def forward(self, x: Tensor, tau: Tensor, cond: Tensor | None = None) -> Tensor:
        c = self.condition(tau, cond)
        h = self.stem(self._patches(x).to(self.stem.weight.dtype))
        share = self.maps.share(cond, len(x), x.shape[2:])
        h = h if share is None else h + share.reshape(h.shape)
        for block in self.down:
            h = block(h, c)
        mixed = self.finer(self._mixed(self.coarser(F.pixel_unshuffle(h, 2)), c))
        h = (h + F.pixel_shuffle(mixed, 2)).contiguous(memory_format=torch.channels_last)
        for block in self.up:
            h = block(h, c)
        out = self._clips(self.head(F.silu(h)).float(), x.shape)
        return torch.addcmul(out, self.skip(c).float()[..., None, None], x.float())

    def _mixed(self, h: Tensor, c: Tensor) -> Tensor:
        """The transformer over all places and times of maps ``(B · T, C, H, W)``."""
        tokens = h.flatten(2).transpose(1, 2).reshape(len(c), -1, len(self.place), h.shape[1])
        tokens = (tokens + (self.place + self.moment)).flatten(1, 2)
        for block in self.trunk:
            tokens = block(tokens, c)
        return tokens.reshape(len(h), -1, h.shape[1]).transpose(1, 2).reshape(h.shape)

    def _patches(self, x: Tensor) -> Tensor:
        """Clips to frames of patches, ``(B · T / span, 3 span C p p, H / p, W / p)``, in channels-last order."""
        x = x.reshape(len(x), self.frames, -1, *x.shape[2:])
        if short := -self.frames % self.span:
            x = torch.cat([x, x[:, -1:].expand(-1, short, -1, -1, -1)], 1)
        x = x.reshape(-1, self.span * x.shape[2], *x.shape[3:])
        return patches(with_detail(x), self.patch, 2 * self.patch).contiguous(memory_format=torch.channels_last)

    def _clips(self, h: Tensor, shape: torch.Size) -> Tensor:
        """Frames of patches to clips of their full size."""
        x = images(h, self.patch, *shape[2:])
        return x.reshape(shape[0], -1, *shape[2:])[:, : shape[1]]
