"""A top-down network of images with a little noise entering at every stage, and the bottom-up network that infers it.

The map from noise to images is one residual decoder. At several points ``l`` on the way down it reads fresh standard
normal noise, a map of a few channels that is scaled and shifted by functions of the current features:

    z_l = m_l(h) + exp(s_l(h)) · eps_l,    h <- h + W_l z_l

So coarse noise decides the content of the image, and fine noise its details (Sonderby et al. 2016, Ladder Variational
Autoencoders, https://arxiv.org/abs/1602.02282; Child 2021, Very Deep VAEs, https://arxiv.org/abs/2011.10650).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise
from typing import ClassVar, final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fourfold.core import Part
from fourfold.nn.resnet import _GAIN, Plan, Residual, _conv, _labels, _linear, _phi

__all__ = ["LadderDecoder", "LadderEncoder"]


@final
class _Rung(nn.Module):
    """A residual block, then noise: ``h + W (m(h) + exp(s(h)) eps)``."""

    def __init__(self, width: int, channels: int, depth: int) -> None:
        super().__init__()
        self.block = Residual(width, width, depth)
        self.prior = _conv(width, 2 * channels, 1, gain=0.1)
        self.inject = _conv(channels, width, 1, gain=0.5)

    def forward(self, h: Tensor, eps: Callable[[Tensor], Tensor]) -> Tensor:
        h = self.block(h)
        m, s = self.prior(_phi(h)).float().chunk(2, 1)
        z = m + (2 * torch.tanh(s / 2)).exp() * eps(h)
        return h + self.inject(z.to(h.dtype))


@final
class LadderDecoder(Part, nn.Module):
    """Noise (and labels) to maps: ``(B, inputs)`` and one noise for each rung to ``(B, outputs, H, W)``, float32.

    Args:
        inputs: length of the coarsest noise, a vector.
        shape: ``(C, H, W)`` of an image; only height and width matter.
        outputs: values for each pixel.
        width: channels of the finest stage; they double with every halving, up to four times.
        rungs: number of noises of each stage, each after one residual block.
        channels: channels of each rung's noise.
        classes: number of labels, or ``None``.
    """

    for_adamw: ClassVar[tuple[str, ...]] = ("entry", "exit")

    def __init__(
        self,
        inputs: int,
        shape: tuple[int, int, int],
        outputs: int,
        width: int = 64,
        rungs: int = 2,
        channels: int = 4,
        classes: int | None = None,
    ) -> None:
        super().__init__()
        self.plan = plan = Plan(shape, width)
        self.noises = [(channels, *size) for size in reversed(plan.sizes) for _ in range(rungs)]
        self.labels = _labels(classes, inputs)
        self.entry = _linear(inputs if classes is None else 2 * inputs, plan.features)
        depth = rungs * len(plan.widths)
        self.stages = nn.ModuleList(
            nn.ModuleList(_Rung(width, channels, depth) for _ in range(rungs)) for width in reversed(plan.widths)
        )
        self.up = nn.ModuleList(_conv(coarse, fine, 1) for coarse, fine in pairwise(reversed(plan.widths)))
        self.last = Residual(plan.widths[0], plan.widths[0], depth)
        self.exit = _conv(plan.widths[0], outputs * plan.patch**2)

    def forward(self, u: Tensor, cond: Tensor | None, noise: Callable[[int, Tensor], Tensor]) -> Tensor:
        """Decode; ``noise(l, h)`` gives rung ``l`` its noise ``(B, *noises[l])``, float32, from the map ``h`` there."""
        u = u.to(self.entry.weight.dtype)  # type: ignore[arg-type]
        if self.labels is not None:
            u = torch.cat([u, self.labels(cond, len(u))], 1)
        h = self.entry(u).unflatten(1, (self.plan.widths[-1], *self.plan.sizes[-1]))
        h, rung = h.contiguous(memory_format=torch.channels_last), 0
        for i, stage in enumerate(self.stages):
            if i > 0:
                size = self.plan.sizes[-1 - i]
                h = F.interpolate(self.up[i - 1](h), size=size, mode="bilinear", align_corners=False)
            for layer in stage:  # type: ignore[attr-defined]
                h = layer(h, lambda h, at=rung: noise(at, h))
                rung += 1
        return self.plan.join(self.exit(_phi(self.last(h))).float())


@final
class LadderEncoder(Part, nn.Module):
    """Images (and labels) to a vector ``(B, outputs)`` and, with a decoder's map, to the noise of each rung.

    Args:
        shape: ``(C, H, W)`` of an image.
        outputs: length of the vector.
        width, rungs, channels, classes: those of the decoder.
    """

    for_adamw: ClassVar[tuple[str, ...]] = ("stem", "head")

    def __init__(
        self,
        shape: tuple[int, int, int],
        outputs: int,
        width: int = 64,
        rungs: int = 2,
        channels: int = 4,
        classes: int | None = None,
    ) -> None:
        super().__init__()
        self.plan = plan = Plan(shape, width)
        depth = len(plan.widths) * rungs
        self.stem = _conv(plan.channels * plan.patch**2, width)
        self.stages = nn.ModuleList(nn.Sequential(*(Residual(w, w, depth) for _ in range(rungs))) for w in plan.widths)
        self.down = nn.ModuleList(_conv(fine, coarse, 1) for fine, coarse in pairwise(plan.widths))
        self.labels = _labels(classes, outputs * 4)
        self.thin = _conv(plan.widths[-1], plan.slim, 1, gain=_GAIN)
        self.hidden = _linear(plan.slim * math.prod(plan.sizes[-1]), outputs * 4, gain=_GAIN)
        self.head = _linear(outputs * 4, outputs)
        self.own = nn.ModuleList(_conv(w, w, 1) for w in reversed(plan.widths) for _ in range(rungs))
        self.theirs = nn.ModuleList(_conv(w, w, 1) for w in reversed(plan.widths) for _ in range(rungs))
        self.out = nn.ModuleList(
            _conv(w, 2 * channels, 1, gain=0.3) for w in reversed(plan.widths) for _ in range(rungs)
        )
        self.rungs = rungs

    def forward(self, x: Tensor, cond: Tensor | None = None) -> tuple[Tensor, list[Tensor]]:
        """The vector, float32, and the map of each stage, coarsest first."""
        x = self.plan.cut(x).to(self.stem.weight.dtype)  # type: ignore[arg-type]
        h = self.stages[0](self.stem(x.contiguous(memory_format=torch.channels_last)))
        maps = [h]
        for down, stage in zip(self.down, self.stages[1:], strict=True):
            h = stage(down(F.avg_pool2d(h, 2, ceil_mode=True)))
            maps.append(h)
        top = self.hidden(_phi(self.thin(_phi(h))).flatten(1))
        if self.labels is not None:
            top = top + self.labels(cond, len(x))
        return self.head(_phi(top)).float(), maps[::-1]

    def infer(self, rung: int, maps: list[Tensor], h: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log-scale of the noise of a rung, float32, each ``(B, channels, h, w)``."""
        e = self.own[rung](maps[rung // self.rungs]) + self.theirs[rung](h)
        m, s = self.out[rung](_phi(e)).float().chunk(2, 1)
        return m, 3 * torch.tanh(s / 3)
