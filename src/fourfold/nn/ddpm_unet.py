"""The U-Net of Ho, Jain, Abbeel 2020, whose weights published libraries read.

Denoising Diffusion Probabilistic Models, appendix B (https://arxiv.org/abs/2006.11239): residual blocks with group
normalisation, attention at coarse resolutions, the way up joined to the way down, and the number of the step as sines
and cosines. It works at full resolution and is slower on a CPU than :class:`~fourfold.nn.unet.UNet`. It is here because
other libraries draw from it.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import ClassVar, final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fourfold.core import Part, Reading
from fourfold.nn.entry import ConditionEntry, Maps
from fourfold.nn.layers import zeroed

__all__ = ["DDPMUNet"]

GROUPS = 8
"""Groups of channels that are normalised together. Every width is a multiple of it."""
PERIOD = 10_000
"""The longest period of the sines of a step, in steps (over 2 pi)."""


@final
class DDPMBlock(nn.Module):
    """``S h + W_2 phi(norm(W_1 phi(norm(h)) + V phi(c)))`` with 3 x 3 convolutions and ``phi`` = SiLU. ``W_2`` is 0.

    ``S`` is the identity, or a 1 x 1 convolution where the number of channels changes.
    """

    block: ClassVar[bool] = True
    """Whether a large one is a unit of ``fsdp`` and of recomputation."""

    def __init__(self, inputs: int, outputs: int, condition: int) -> None:
        super().__init__()
        self.norm_1, self.conv_1 = nn.GroupNorm(GROUPS, inputs), nn.Conv2d(inputs, outputs, 3, padding=1)
        self.modulation = nn.Linear(condition, outputs)
        self.norm_2, self.conv_2 = nn.GroupNorm(GROUPS, outputs), zeroed(nn.Conv2d(outputs, outputs, 3, padding=1))
        self.shortcut = nn.Conv2d(inputs, outputs, 1) if inputs != outputs else None

    def forward(self, h: Tensor, c: Tensor) -> Tensor:
        y = self.conv_1(F.silu(self.norm_1(h))) + self.modulation(F.silu(c))[:, :, None, None]
        y = self.conv_2(F.silu(self.norm_2(y)))
        return y + (h if self.shortcut is None else self.shortcut(h))


@final
class Attention(nn.Module):
    """``h + W_o attention(norm(h))`` between all pixels, with one head. ``W_o`` is 0 at first."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(GROUPS, width)
        self.q, self.k, self.v = nn.Linear(width, width), nn.Linear(width, width), nn.Linear(width, width)
        self.out = zeroed(nn.Linear(width, width))

    def forward(self, h: Tensor) -> Tensor:
        tokens = self.norm(h).flatten(2).transpose(1, 2)[:, None]
        mixed = F.scaled_dot_product_attention(self.q(tokens), self.k(tokens), self.v(tokens))[:, 0]
        return h + self.out(mixed).transpose(1, 2).reshape(h.shape)


@final
class DDPMStage(nn.Module):
    """The blocks of one resolution, each followed by attention where the stage attends.

    Args:
        inputs: channels that enter each block.
        width: channels that leave it.
        condition: length of the vector of step and condition.
        attends: whether pixels attend to each other.
        resample: the convolution that leads to the next resolution, or ``None``.
    """

    def __init__(
        self, inputs: tuple[int, ...], width: int, condition: int, attends: bool, resample: nn.Conv2d | None = None
    ) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(DDPMBlock(entering, width, condition) for entering in inputs)
        self.attentions = nn.ModuleList(Attention(width) for _ in inputs) if attends else None
        self.resample = resample

    def step(self, i: int, h: Tensor, c: Tensor) -> Tensor:
        """Block ``i``, and its attention."""
        h = self.blocks[i](h, c)
        return h if self.attentions is None else torch.as_tensor(self.attentions[i](h))


@final
class DDPMUNet(Part, nn.Module):
    """Images, steps and labels to images: ``(B, C, H, W), (B,), (B,)`` to ``(B, C, H, W)``, float32. Zero at the start.

    Each stage but the last halves height and width. All stages but the first attend, and so does the middle.

    Args:
        channels: number of channels of an image.
        widths: channels of every stage, finest first. Multiples of 8.
        layers: blocks of every stage on the way down. On the way up there is one more.
        reading: reads the condition, or ``None``.

    Raises:
        ValueError: for a width that is not a multiple of 8.
    """

    for_adamw: ClassVar[tuple[str, ...]] = ("stem", "head")

    def __init__(
        self, channels: int, widths: tuple[int, ...] = (64, 128), layers: int = 1, reading: Reading | None = None
    ) -> None:
        super().__init__()
        if any(width % GROUPS for width in widths):
            raise ValueError(f"widths must be multiples of {GROUPS}, got {widths}")
        self.channels, self.widths, self.layers = channels, tuple(widths), layers
        first, last, condition = widths[0], widths[-1], 4 * widths[0]
        self.first, self.second = nn.Linear(first, condition), nn.Linear(condition, condition)
        self.given = ConditionEntry.of(reading, condition)
        self.stem = nn.Conv2d(channels, first, 3, padding=1)
        self.maps = Maps(reading, first)
        self.down, widths_down = nn.ModuleList(), [first]
        for i, (before, width) in enumerate(pairwise([first, *widths])):
            coarser = nn.Conv2d(width, width, 3, stride=2, padding=1) if i < len(widths) - 1 else None
            self.down.append(DDPMStage((before, *(width,) * (layers - 1)), width, condition, i > 0, coarser))
            widths_down += [width] * (layers + (coarser is not None))
        self.before, self.between, self.after = (
            DDPMBlock(last, last, condition),
            Attention(last),
            DDPMBlock(last, last, condition),
        )
        self.up, width = nn.ModuleList(), last
        for i in reversed(range(len(widths))):
            finer = nn.Conv2d(widths[i], widths[i], 3, padding=1) if i > 0 else None
            entering = [width, *[widths[i]] * layers]
            inputs = tuple(channels_up + widths_down.pop() for channels_up in entering)
            self.up.append(DDPMStage(inputs, widths[i], condition, i > 0, finer))
            width = widths[i]
        self.norm, self.head = nn.GroupNorm(GROUPS, first), zeroed(nn.Conv2d(first, channels, 3, padding=1))

    def forward(self, x: Tensor, step: Tensor, cond: Tensor | None = None) -> Tensor:
        c = self._condition(step, cond)
        h = self.maps(self.stem(x.to(self.stem.weight.dtype)), cond, x.shape[2:])
        maps = [h]
        for stage in self.stages(self.down):
            for i in range(self.layers):
                h = stage.step(i, h, c)
                maps.append(h)
            if stage.resample is not None:
                h = stage.resample(h)
                maps.append(h)
        h = self.after(self.between(self.before(h, c)), c)
        for stage in self.stages(self.up):
            for i in range(self.layers + 1):
                h = stage.step(i, torch.cat([h, maps.pop()], 1), c)
            if stage.resample is not None:
                h = stage.resample(F.interpolate(h, scale_factor=2.0))
        return torch.as_tensor(self.head(F.silu(self.norm(h)))).float()

    @staticmethod
    def stages(way: nn.ModuleList) -> list[DDPMStage]:
        """The stages of the way down or up."""
        return [stage for stage in way if isinstance(stage, DDPMStage)]

    def _condition(self, step: Tensor, cond: Tensor | None) -> Tensor:
        """The vector of step and condition: ``W_2 phi(W_1 sines(step)) + W r(c)``, ``(B, 4 width)``."""
        count = self.first.in_features // 2
        rates = torch.exp(-math.log(PERIOD) / count * torch.arange(count, device=step.device))
        phase = step.float()[:, None] * rates
        waves = torch.cat([phase.cos(), phase.sin()], 1).to(self.first.weight.dtype)
        c = self.second(F.silu(self.first(waves)))
        return torch.as_tensor(c if self.given is None else c + self.given(cond, len(step)))
