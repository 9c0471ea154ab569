"""Residual networks without normalisation: encoder, decoder, critic, and a multilayer perceptron for vectors.

Every block is ``h + W_2 phi(W_1 phi(h))`` with leaky rectifiers, ``W_2 = 0`` at the start and ``W_1`` scaled down by
the square root of the number of blocks, so that a deep network starts as a shallow one and needs no normalisation
(Zhang, Dauphin, Ma 2019, Fixup, https://arxiv.org/abs/1901.09321). Images are cut into 2 x 2 patches at the entry and
reassembled at the exit, so no layer works at full resolution; in between they are resampled by averages and bilinear
interpolation (Karras et al. 2019, https://arxiv.org/abs/1812.04948).

A network computes in the dtype of its weights, and takes and returns float32.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import ClassVar, final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fourfold.core import Part

__all__ = ["LabelEmbedding", "Plan", "ResMLP", "ResNetCritic", "ResNetDecoder", "ResNetEncoder", "Residual"]

_SLOPE = 0.2
_GAIN = math.sqrt(2 / (1 + _SLOPE**2))


def _phi(h: Tensor) -> Tensor:
    """The leaky rectifier."""
    return F.leaky_relu(h, _SLOPE)


def _started(layer: nn.Conv2d | nn.Linear, gain: float) -> nn.Conv2d | nn.Linear:
    """A layer with normal weights of variance ``gain^2 / fan_in`` and no bias; with gain 0 its output is 0."""
    nn.init.normal_(layer.weight, std=gain / math.sqrt(layer.weight[0].numel()))
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer


def _conv(inputs: int, outputs: int, size: int = 3, gain: float = 1.0) -> nn.Module:
    """A convolution that keeps height and width."""
    return _started(nn.Conv2d(inputs, outputs, size, padding=size // 2), gain)


def _linear(inputs: int, outputs: int, gain: float = 1.0) -> nn.Module:
    """A full matrix with a bias."""
    return _started(nn.Linear(inputs, outputs), gain)


@final
class LabelEmbedding(Part, nn.Module):
    """Class labels as vectors: ``(B,)`` int64 to ``(B, width)``; -1, like ``None``, has the row "unknown".

    Args:
        classes: number of labels.
        width: length of a vector.
        gain: standard deviation of the vectors at the start.
    """

    def __init__(self, classes: int, width: int, gain: float = 1.0) -> None:
        super().__init__()
        self.table = nn.Embedding(classes + 1, width)
        nn.init.normal_(self.table.weight, std=gain)

    def forward(self, cond: Tensor | None, batch: int) -> Tensor:
        """The vectors of ``batch`` labels."""
        if cond is None:
            return self.table.weight[:1].expand(batch, -1)
        return self.table(cond + 1)


def _labels(classes: int | None, width: int, gain: float = 1.0) -> LabelEmbedding | None:
    return None if classes is None else LabelEmbedding(classes, width, gain)


@final
class Residual(nn.Module):
    """``h + W_2 phi(W_1 phi(h))`` with 3 x 3 convolutions (``spatial``) or matrices.

    Args:
        width: channels of ``h``.
        hidden: channels between the two.
        depth: residual blocks in the entire network; ``W_1`` starts ``sqrt(depth)`` times smaller.
        spatial: whether to convolve ``(B, width, H, W)`` or to multiply ``(B, width)``.
    """

    def __init__(self, width: int, hidden: int, depth: int, spatial: bool = True) -> None:
        super().__init__()
        layer = _conv if spatial else _linear
        self.first = layer(width, hidden, gain=_GAIN / math.sqrt(depth))
        self.second = layer(hidden, width, gain=0.0)

    def forward(self, h: Tensor) -> Tensor:
        return h + self.second(_phi(self.first(_phi(h))))


def _sides(side: int) -> tuple[int, list[int]]:
    """The patch size and the sides of every stage, finest first: halved until at most 8 remain."""
    patch = 2 if side >= 16 else 1
    sides = [math.ceil(side / patch)]
    while sides[-1] > 8:
        sides.append(math.ceil(sides[-1] / 2))
    return patch, sides


@final
class Plan:
    """Patch size, height, width and channels of every stage, finest first, of a network for one shape of image.

    Args:
        shape: ``(C, H, W)`` of an image.
        width: channels of the finest stage; they double with every halving, up to four times.
    """

    def __init__(self, shape: tuple[int, ...], width: int) -> None:
        self.channels, self.height, self.width = shape
        self.patch, long = _sides(max(self.height, self.width))
        self.sizes = [(math.ceil(self.height / self.patch), math.ceil(self.width / self.patch))]
        for _ in long[1:]:
            height, across = self.sizes[-1]
            self.sizes.append((math.ceil(height / 2), math.ceil(across / 2)))
        self.widths = [width * min(2**i, 4) for i in range(len(self.sizes))]
        self.features = self.widths[-1] * self.sizes[-1][0] * self.sizes[-1][1]
        self.slim = min(32, self.widths[-1])

    def cut(self, x: Tensor) -> Tensor:
        """Images to patches, ``(B, C p p, H/p, W/p)``, padded by edge values where ``p`` does not divide."""
        short = (self.sizes[0][1] * self.patch - self.width, self.sizes[0][0] * self.patch - self.height)
        if any(short):
            x = F.pad(x, (0, short[0], 0, short[1]), mode="replicate")
        return F.pixel_unshuffle(x, self.patch) if self.patch > 1 else x

    def join(self, h: Tensor) -> Tensor:
        """Patches to images of the full size."""
        x = F.pixel_shuffle(h, self.patch) if self.patch > 1 else h
        return x[:, :, : self.height, : self.width]


@final
class _Trunk(nn.Module):
    """Images ``(B, C, H, W)`` to the coarsest stage's map, thinned to ``slim`` channels: ``(B, slim · h · w)``."""

    for_adamw: ClassVar[tuple[str, ...]] = ("stem",)

    def __init__(self, plan: Plan, blocks: int) -> None:
        super().__init__()
        self.plan = plan
        depth = blocks * len(plan.widths)
        self.stem = _conv(plan.channels * plan.patch**2, plan.widths[0])
        self.stages = nn.ModuleList(
            nn.Sequential(*(Residual(width, width, depth) for _ in range(blocks))) for width in plan.widths
        )
        self.down = nn.ModuleList(_conv(fine, coarse, 1) for fine, coarse in pairwise(plan.widths))
        self.thin = _conv(plan.widths[-1], plan.slim, 1, gain=_GAIN)
        self.outputs = plan.slim * math.prod(plan.sizes[-1])

    def forward(self, x: Tensor) -> Tensor:
        x = self.plan.cut(x).to(self.stem.weight.dtype)  # type: ignore[arg-type]
        h = self.stages[0](self.stem(x.contiguous(memory_format=torch.channels_last)))
        for down, stage in zip(self.down, self.stages[1:], strict=True):
            h = stage(down(F.avg_pool2d(h, 2, ceil_mode=True)))
        return _phi(self.thin(_phi(h))).flatten(1)


@final
class ResNetEncoder(Part, nn.Module):
    """Images (and labels) to vectors: ``(B, C, H, W)`` to ``(B, outputs)``, float32.

    Args:
        shape: ``(C, H, W)`` of an image.
        outputs: length of the result.
        width: channels of the finest stage; they double with every halving, up to four times.
        blocks: residual blocks of each stage.
        classes: number of labels, or ``None``.
    """

    # Muon takes a quarter of a step of a small autoencoder for `hidden` alone, by far the largest matrix.
    for_adamw: ClassVar[tuple[str, ...]] = ("hidden", "head")

    def __init__(
        self, shape: tuple[int, int, int], outputs: int, width: int = 64, blocks: int = 2, classes: int | None = None
    ) -> None:
        super().__init__()
        plan = Plan(shape, width)
        self.trunk = _Trunk(plan, blocks)
        self.labels = _labels(classes, outputs * 4)
        self.hidden = _linear(self.trunk.outputs, outputs * 4, gain=_GAIN)
        self.head = _linear(outputs * 4, outputs)

    def forward(self, x: Tensor, cond: Tensor | None = None) -> Tensor:
        h = self.hidden(self.trunk(x))
        if self.labels is not None:
            h = h + self.labels(cond, len(x))
        return self.head(_phi(h)).float()


@final
class ResNetCritic(Part, nn.Module):
    """One number for each image: ``D(x, c) = (w + e_c) · h(x) / sqrt(features)``, float32.

    The class enters by projection (Miyato, Koyama 2018, https://arxiv.org/abs/1802.05637).

    Args:
        shape: ``(C, H, W)`` of an image.
        width: channels of the finest stage.
        blocks: residual blocks of each stage.
        features: length of ``h(x)``.
        classes: number of labels, or ``None``.
    """

    for_adamw: ClassVar[tuple[str, ...]] = ("head",)

    def __init__(
        self,
        shape: tuple[int, int, int],
        width: int = 32,
        blocks: int = 1,
        features: int = 256,
        classes: int | None = None,
    ) -> None:
        super().__init__()
        plan = Plan(shape, width)
        self.trunk = _Trunk(plan, blocks)
        self.hidden = _linear(self.trunk.outputs, features, gain=_GAIN)
        self.head = _linear(features, 1)
        self.labels = _labels(classes, features, 1 / math.sqrt(features))

    def forward(self, x: Tensor, cond: Tensor | None = None) -> Tensor:
        """The critic's number, ``(B,)``."""
        h = _phi(self.hidden(self.trunk(x)))
        value = self.head(h)[:, 0].float()
        if self.labels is not None:
            value = value + (h.float() * self.labels(cond, len(x)).float()).sum(1)
        return value


@final
class ResNetDecoder(Part, nn.Module):
    """Vectors (and labels) to maps: ``(B, inputs)`` to ``(B, outputs, H, W)``, float32.

    Args:
        inputs: length of the vectors.
        shape: ``(C, H, W)`` of an image; only height and width matter.
        outputs: values for each pixel.
        width: channels of the finest stage; they double with every halving, up to four times.
        blocks: residual blocks of each stage.
        classes: number of labels, or ``None``.
    """

    for_adamw: ClassVar[tuple[str, ...]] = ("entry", "exit")

    def __init__(
        self,
        inputs: int,
        shape: tuple[int, int, int],
        outputs: int,
        width: int = 64,
        blocks: int = 2,
        classes: int | None = None,
    ) -> None:
        super().__init__()
        plan = Plan(shape, width)
        self.plan, depth = plan, blocks * len(plan.widths)
        self.labels = _labels(classes, inputs)
        self.entry = _linear(inputs if classes is None else 2 * inputs, plan.features)
        self.stages = nn.ModuleList(
            nn.Sequential(*(Residual(width, width, depth) for _ in range(blocks))) for width in plan.widths
        )
        self.up = nn.ModuleList(_conv(coarse, fine, 1) for fine, coarse in pairwise(plan.widths))
        self.exit = _conv(plan.widths[0], outputs * plan.patch**2)

    def forward(self, z: Tensor, cond: Tensor | None = None) -> Tensor:
        z = z.to(self.entry.weight.dtype)  # type: ignore[arg-type]
        if self.labels is not None:
            z = torch.cat([z, self.labels(cond, len(z))], 1)
        h = self.entry(z).unflatten(1, (self.plan.widths[-1], *self.plan.sizes[-1]))
        h = self.stages[-1](h.contiguous(memory_format=torch.channels_last))
        for i in reversed(range(len(self.up))):
            h = F.interpolate(self.up[i](h), size=self.plan.sizes[i], mode="bilinear", align_corners=False)
            h = self.stages[i](h)
        return self.plan.join(self.exit(_phi(h)).float())


@final
class ResMLP(Part, nn.Module):
    """A residual multilayer perceptron: ``(B, inputs)`` (and labels) to ``(B, outputs)``, float32.

    Args:
        inputs, outputs: lengths of the vectors.
        width: length of the residual stream.
        blocks: number of residual blocks.
        classes: number of labels, or ``None``.
        gain: scale of the last layer at the start; 0 starts with the zero function.
    """

    for_adamw: ClassVar[tuple[str, ...]] = ("entry", "exit")

    def __init__(
        self,
        inputs: int,
        outputs: int,
        width: int = 128,
        blocks: int = 2,
        classes: int | None = None,
        gain: float = 1.0,
    ) -> None:
        super().__init__()
        self.labels = _labels(classes, width)
        self.entry = _linear(inputs, width)
        self.blocks = nn.Sequential(*(Residual(width, width, blocks, spatial=False) for _ in range(blocks)))
        self.exit = _linear(width, outputs, gain)

    def forward(self, x: Tensor, cond: Tensor | None = None) -> Tensor:
        h = self.entry(x.to(self.entry.weight.dtype))  # type: ignore[arg-type]
        if self.labels is not None:
            h = h + self.labels(cond, len(x))
        return self.exit(_phi(self.blocks(h))).float()
