"""Residual networks without normalisation: encoder, decoder, critic, and a multilayer perceptron for vectors.

Those of images are pyramids (:mod:`fourfold.nn.pyramid`). A network computes in the dtype of its weights, and takes and
returns float32.
"""

from __future__ import annotations

import math
from functools import partial
from typing import ClassVar, final

from torch import Tensor, nn

from fourfold.core import Part, Reading
from fourfold.nn.entry import ConditionEntry, Maps
from fourfold.nn.layers import convolution, linear
from fourfold.nn.pyramid import GAIN, Pyramid, Residual, StageMaps, ascend, descend, phi

__all__ = ["ResMLP", "ResNetCritic", "ResNetDecoder", "ResNetEncoder", "Trunk"]


@final
class Trunk(nn.Module):
    """Images ``(B, C, H, W)`` to the map of every stage, and that of the coarsest thinned: ``(B, outputs)``.

    Args:
        shape: ``(C, H, W)`` of an image.
        width: channels of the finest stage.
        blocks: residual blocks of each stage.
        reading: reads the condition, whose maps stand beside the image, or ``None``.
    """

    for_adamw: ClassVar[tuple[str, ...]] = ("stem",)

    def __init__(self, shape: tuple[int, int, int], width: int, blocks: int, reading: Reading | None) -> None:
        super().__init__()
        self.pyramid = pyramid = Pyramid.to_eight(shape, width)
        self.stem = convolution(pyramid.values, pyramid.widths[0])
        self.maps = Maps(reading, pyramid.widths[0], pyramid.patch)
        self.stages, self.down = pyramid.stages(blocks), pyramid.coarser()
        slim = min(32, pyramid.widths[-1])
        self.thin = convolution(pyramid.widths[-1], slim, 1, gain=GAIN)
        self.outputs = slim * math.prod(pyramid.sizes[-1])

    def pyramid_of(self, x: Tensor, cond: Tensor | None) -> list[Tensor]:
        """The map of every stage, finest first."""
        h = self.stem(self.pyramid.patches(x).to(self.stem.weight.dtype))
        return descend(self.maps(h, cond, x.shape[2:]), self.stages, self.down)

    def features(self, h: Tensor) -> Tensor:
        """The map of the coarsest stage, thinned and flattened."""
        return phi(self.thin(phi(h))).flatten(1)

    def forward(self, x: Tensor, cond: Tensor | None) -> Tensor:
        return self.features(self.pyramid_of(x, cond)[-1])


@final
class ResNetEncoder(Part, nn.Module):
    """Images (and conditions) to vectors: ``(B, C, H, W)`` to ``(B, outputs)``, float32.

    Args:
        shape: ``(C, H, W)`` of an image.
        outputs: length of the result.
        width: channels of the finest stage. They double with every halving, up to four times.
        blocks: residual blocks of each stage.
        reading: reads the condition, or ``None``.
    """

    # Muon takes a quarter of a step of a small autoencoder for `hidden` alone, by far the largest matrix.
    for_adamw: ClassVar[tuple[str, ...]] = ("hidden", "head")

    def __init__(
        self,
        shape: tuple[int, int, int],
        outputs: int,
        width: int = 64,
        blocks: int = 2,
        reading: Reading | None = None,
    ) -> None:
        super().__init__()
        self.trunk = Trunk(shape, width, blocks, reading)
        self.given = ConditionEntry.of(reading, outputs * 4)
        self.hidden = linear(self.trunk.outputs, outputs * 4, GAIN)
        self.head = linear(outputs * 4, outputs)

    def forward(self, x: Tensor, cond: Tensor | None = None) -> Tensor:
        return self.with_map(x, cond)[0]

    def with_map(self, x: Tensor, cond: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """The vectors, and the map of the coarsest stage."""
        coarsest = self.trunk.pyramid_of(x, cond)[-1]
        h = self.hidden(self.trunk.features(coarsest))
        if self.given is not None:
            h = h + self.given(cond, len(x))
        return self.head(phi(h)).float(), coarsest


@final
class ResNetCritic(Part, nn.Module):
    """One number for each image: ``D(x, c) = (w + W r(c)) · h(x) / sqrt(features)``, float32.

    The condition enters by projection (Miyato, Koyama 2018, https://arxiv.org/abs/1802.05637).

    Args:
        shape: ``(C, H, W)`` of an image.
        width: channels of the finest stage.
        blocks: residual blocks of each stage.
        features: length of ``h(x)``.
        reading: reads the condition, or ``None``.
    """

    for_adamw: ClassVar[tuple[str, ...]] = ("head",)

    def __init__(
        self,
        shape: tuple[int, int, int],
        width: int = 32,
        blocks: int = 1,
        features: int = 256,
        reading: Reading | None = None,
    ) -> None:
        super().__init__()
        self.trunk = Trunk(shape, width, blocks, reading)
        self.hidden = linear(self.trunk.outputs, features, GAIN)
        self.head = linear(features, 1)
        self.given = ConditionEntry.of(reading, features, 1 / math.sqrt(features))

    def forward(self, x: Tensor, cond: Tensor | None = None) -> Tensor:
        """The critic's number, ``(B,)``."""
        h = phi(self.hidden(self.trunk(x, cond)))
        value = self.head(h)[:, 0].float()
        if self.given is not None:
            value = value + (h.float() * self.given(cond, len(x)).float()).sum(1)
        return value


@final
class ResNetDecoder(Part, nn.Module):
    """Vectors (and conditions) to maps: ``(B, inputs)`` to ``(B, outputs, H, W)``, float32.

    Args:
        inputs: length of the vectors.
        shape: ``(C, H, W)`` of an image. Only height and width matter.
        outputs: values for each pixel.
        width: channels of the finest stage. They double with every halving, up to four times.
        blocks: residual blocks of each stage.
        reading: reads the condition, or ``None``.
    """

    for_adamw: ClassVar[tuple[str, ...]] = ("entry", "exit")

    def __init__(
        self,
        inputs: int,
        shape: tuple[int, int, int],
        outputs: int,
        width: int = 64,
        blocks: int = 2,
        reading: Reading | None = None,
    ) -> None:
        super().__init__()
        self.pyramid = pyramid = Pyramid.to_eight(shape, width)
        self.given = ConditionEntry.of(reading, inputs)
        self.entry = linear(inputs if reading is None else 2 * inputs, pyramid.features)
        self.stages, self.up = pyramid.stages(blocks), pyramid.finer()
        self.maps = StageMaps(pyramid, reading)
        self.exit = convolution(width, outputs * pyramid.patch**2)

    def forward(self, z: Tensor, cond: Tensor | None = None) -> Tensor:
        z = z.to(self.entry.weight.dtype)
        h = self.entry(z if self.given is None else self.given.beside(z, cond))
        stages = [partial(self._stage, i, cond) for i in reversed(range(len(self.stages)))]
        h = ascend(self.pyramid.coarsest(h), stages, reversed(self.up), self.pyramid.sizes[::-1])
        return self.pyramid.images(self.exit(phi(h)).float())

    def _stage(self, i: int, cond: Tensor | None, h: Tensor) -> Tensor:
        """The blocks of stage ``i``, finest first."""
        out: Tensor = self.stages[i](self.maps(h, i, cond))
        return out


@final
class ResMLP(Part, nn.Module):
    """A residual multilayer perceptron: ``(B, inputs)`` (and conditions) to ``(B, outputs)``, float32.

    Args:
        inputs, outputs: lengths of the vectors.
        width: length of the residual stream.
        blocks: number of residual blocks.
        reading: reads the condition, or ``None``.
        gain: scale of the last layer at the start. 0 starts with the zero function.
    """

    for_adamw: ClassVar[tuple[str, ...]] = ("entry", "exit")

    def __init__(
        self,
        inputs: int,
        outputs: int,
        width: int = 128,
        blocks: int = 2,
        reading: Reading | None = None,
        gain: float = 1.0,
    ) -> None:
        super().__init__()
        self.given = ConditionEntry.of(reading, width)
        self.entry = linear(inputs, width)
        self.blocks = nn.Sequential(*(Residual(width, width, blocks, spatial=False) for _ in range(blocks)))
        self.exit = linear(width, outputs, gain)

    def forward(self, x: Tensor, cond: Tensor | None = None) -> Tensor:
        h = self.entry(x.to(self.entry.weight.dtype))
        if self.given is not None:
            h = h + self.given(cond, len(x))
        return self.exit(phi(self.blocks(h))).float()
