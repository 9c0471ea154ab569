"""A top-down network of images with a little noise entering at every stage, and the bottom-up network that infers it.

The map from noise to images is one residual decoder. At several points ``l`` on the way down it reads fresh standard
normal noise, a map of a few channels that is scaled and shifted by functions of the current features:

    z_l = m_l(h) + exp(s_l(h)) · eps_l,    h <- h + W_l z_l

So coarse noise decides the content of the image, and fine noise its details (Sonderby et al. 2016, Ladder Variational
Autoencoders, https://arxiv.org/abs/1602.02282; Child 2021, Very Deep VAEs, https://arxiv.org/abs/2011.10650).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import ClassVar, final

import torch
from torch import Tensor, nn

from fourfold.core import Part, Reading
from fourfold.nn.entry import ConditionEntry
from fourfold.nn.layers import convolution, linear
from fourfold.nn.pyramid import GAIN, Pyramid, Residual, StageMaps, ascend, phi
from fourfold.nn.resnet import Trunk

__all__ = ["LadderDecoder", "LadderEncoder"]


@final
class _Rung(nn.Module):
    """A residual block, then noise: ``h + W (m(h) + exp(s(h)) eps)``."""

    def __init__(self, width: int, channels: int, depth: int) -> None:
        super().__init__()
        self.block = Residual(width, width, depth)
        self.prior = convolution(width, 2 * channels, 1, gain=0.1)
        self.inject = convolution(channels, width, 1, gain=0.5)

    def forward(self, h: Tensor, eps: Callable[[Tensor], Tensor]) -> Tensor:
        h = self.block(h)
        m, s = self.prior(phi(h)).float().chunk(2, 1)
        z = m + (2 * torch.tanh(s / 2)).exp() * eps(h)
        return h + self.inject(z.to(h.dtype))


@final
class LadderDecoder(Part, nn.Module):
    """Noise (and conditions) to maps: ``(B, inputs)`` and one noise for each rung to ``(B, outputs, H, W)``, float32.

    Args:
        inputs: length of the coarsest noise, a vector.
        shape: ``(C, H, W)`` of an image. Only height and width matter.
        outputs: values for each pixel.
        width: channels of the finest stage. They double with every halving, up to four times.
        rungs: number of noises of each stage, each after one residual block.
        channels: channels of each rung's noise.
        reading: reads the condition, or ``None``.
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
        reading: Reading | None = None,
    ) -> None:
        super().__init__()
        self.pyramid = pyramid = Pyramid.to_eight(shape, width)
        self.noises = [(channels, *size) for size in reversed(pyramid.sizes) for _ in range(rungs)]
        self.given = ConditionEntry.of(reading, inputs)
        self.entry = linear(inputs if reading is None else 2 * inputs, pyramid.features)
        depth = rungs * len(pyramid.widths)
        self.stages = nn.ModuleList(
            nn.ModuleList(_Rung(width, channels, depth) for _ in range(rungs)) for width in reversed(pyramid.widths)
        )
        self.up, self.maps = pyramid.finer(), StageMaps(pyramid, reading)
        self.last = Residual(width, width, depth)
        self.exit = convolution(width, outputs * pyramid.patch**2)

    def forward(self, u: Tensor, cond: Tensor | None, noise: Callable[[int, Tensor], Tensor]) -> Tensor:
        """Decode. ``noise(l, h)`` gives rung ``l`` its noise ``(B, *noises[l])``, float32, from the map ``h`` there."""
        u = u.to(self.entry.weight.dtype)
        h = self.entry(u if self.given is None else self.given.beside(u, cond))
        stages = [partial(self._stage, i, noise, cond) for i in range(len(self.stages))]
        h = ascend(self.pyramid.coarsest(h), stages, reversed(self.up), self.pyramid.sizes[::-1])
        return self.pyramid.images(self.exit(phi(self.last(h))).float())

    def _stage(self, i: int, noise: Callable[[int, Tensor], Tensor], cond: Tensor | None, h: Tensor) -> Tensor:
        """The rungs of stage ``i``, coarsest first."""
        rungs = list(self.stages[i])  # type: ignore[call-overload]
        h = self.maps(h, len(self.stages) - 1 - i, cond)
        for number, rung in enumerate(rungs, i * len(rungs)):
            h = rung(h, partial(noise, number))
        return h


@final
class LadderEncoder(Part, nn.Module):
    """Images (and conditions) to a vector ``(B, outputs)`` and, with a decoder's map, to the noise of each rung.

    Args:
        shape: ``(C, H, W)`` of an image.
        outputs: length of the vector.
        width, rungs, channels, reading: those of the decoder.
    """

    for_adamw: ClassVar[tuple[str, ...]] = ("head",)

    def __init__(
        self,
        shape: tuple[int, int, int],
        outputs: int,
        width: int = 64,
        rungs: int = 2,
        channels: int = 4,
        reading: Reading | None = None,
    ) -> None:
        super().__init__()
        self.trunk, self.rungs = Trunk(shape, width, rungs, reading), rungs
        self.given = ConditionEntry.of(reading, outputs * 4)
        self.hidden = linear(self.trunk.outputs, outputs * 4, GAIN)
        self.head = linear(outputs * 4, outputs)
        widths = [w for w in reversed(self.trunk.pyramid.widths) for _ in range(rungs)]
        self.from_image = nn.ModuleList(convolution(w, w, 1) for w in widths)
        self.from_decoder = nn.ModuleList(convolution(w, w, 1) for w in widths)
        self.out = nn.ModuleList(convolution(w, 2 * channels, 1, gain=0.3) for w in widths)

    def forward(self, x: Tensor, cond: Tensor | None = None) -> tuple[Tensor, list[Tensor]]:
        """The vector, float32, and the map of each stage, coarsest first."""
        maps = self.trunk.pyramid_of(x, cond)
        h = self.hidden(self.trunk.features(maps[-1]))
        if self.given is not None:
            h = h + self.given(cond, len(x))
        return self.head(phi(h)).float(), maps[::-1]

    def infer(self, rung: int, maps: list[Tensor], h: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log-scale of the noise of a rung, float32, each ``(B, channels, h, w)``."""
        e = self.from_image[rung](maps[rung // self.rungs]) + self.from_decoder[rung](h)
        m, s = self.out[rung](phi(e)).float().chunk(2, 1)
        return m, 3 * torch.tanh(s / 3)
