"""The generator of StyleGAN2: a mapping network, and convolutions whose kernels a style scales.

    w = f(z / rms(z), e_c)          w'_oik = s_i w_oik          w''_oik = w'_oik / sqrt(sum_ik w'_oik^2 + eps)

Karras, Laine, Aittala, Hellsten, Lehtinen, Aila 2020 (https://arxiv.org/abs/1912.04958). Kernels are not copied for
every example: scaling the inputs by ``s_i`` and the outputs by the inverse norm gives the same result from one
convolution. Outputs are 2 x 2 patches, so no layer works at full resolution. The result is the sum of the images of all
stages.
"""

from __future__ import annotations

import itertools
import math
from typing import ClassVar, final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fourfold.core import Part, Reading
from fourfold.nn.entry import ConditionEntry
from fourfold.nn.pyramid import Pyramid, StageMaps

__all__ = ["Equalised", "ModulatedConv", "StyleNetwork"]


def _phi(h: Tensor) -> Tensor:
    """The leaky rectifier, with gain ``sqrt 2`` to keep the variance."""
    return F.leaky_relu(h, 0.2) * math.sqrt(2)


@final
class Equalised(nn.Module):
    """A full matrix whose weights are unit normals, scaled when used, so that all layers learn at one rate.

    ``y = x W^T m / sqrt(inputs) + m b`` (Karras, Aila, Laine, Lehtinen 2018, https://arxiv.org/abs/1710.10196).

    Args:
        inputs, outputs: lengths.
        multiplier: ``m``, the factor of its learning rate.
        bias: bias of every output at the start.
    """

    def __init__(self, inputs: int, outputs: int, multiplier: float = 1.0, bias: float = 0.0) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs) / multiplier)
        self.bias = nn.Parameter(torch.full((outputs,), bias / multiplier))
        self.scale, self.multiplier = multiplier / math.sqrt(inputs), multiplier

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight * self.scale, self.bias * self.multiplier)


@final
class ModulatedConv(nn.Module):
    """A convolution whose style makes a kernel for every example: ``(B, inputs, H, W)`` to ``(B, outputs, H, W)``.

    Args:
        inputs, outputs: channels.
        style: length of ``w``.
        size: side of the kernel.
        demodulate: whether outputs are scaled to unit variance for unit inputs.
    """

    def __init__(self, inputs: int, outputs: int, style: int, size: int = 3, demodulate: bool = True) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs, size, size))
        self.affine = Equalised(style, inputs, bias=1.0)
        self.scale, self.padding, self.demodulate = 1 / math.sqrt(inputs * size**2), size // 2, demodulate

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        s = self.affine(w)
        y = F.conv2d(x * s[:, :, None, None], self.weight * self.scale, padding=self.padding)
        if not self.demodulate:
            return y
        power = s.float().square() @ (self.weight.float() * self.scale).square().sum((2, 3)).T
        return y * (power + 1e-8).rsqrt().to(y.dtype)[:, :, None, None]


@final
class _Layer(nn.Module):
    """A modulated convolution, noise of a learned strength, a bias and a rectifier."""

    def __init__(self, inputs: int, outputs: int, style: int) -> None:
        super().__init__()
        self.conv = ModulatedConv(inputs, outputs, style)
        self.bias, self.strength = nn.Parameter(torch.zeros(outputs)), nn.Parameter(torch.zeros(()))

    def forward(self, h: Tensor, w: Tensor, noise: Tensor) -> Tensor:
        return _phi(self.conv(h, w) + self.strength * noise + self.bias[:, None, None])


@final
class _Mapping(nn.Module):
    """``w = f(z / rms(z), e_c)``. Its layers learn a hundred times slower than the others."""

    def __init__(self, noise: int, style: int, depth: int, reading: Reading | None) -> None:
        super().__init__()
        self.given = ConditionEntry.of(reading, noise)
        sizes = [noise if reading is None else 2 * noise] + [style] * depth
        self.layers = nn.ModuleList(Equalised(a, b, 0.01) for a, b in itertools.pairwise(sizes))

    def forward(self, z: Tensor, cond: Tensor | None) -> Tensor:
        h = _normalised(z)
        if self.given is not None:
            h = torch.cat([h, _normalised(self.given(cond, len(z)))], 1)
        for layer in self.layers:
            h = _phi(layer(h))
        return h


def _normalised(z: Tensor) -> Tensor:
    """``z`` over its root mean square."""
    return z * (z.float().square().mean(1, keepdim=True) + 1e-8).rsqrt().to(z.dtype)


@final
class StyleNetwork(Part, nn.Module):
    """``z`` (and conditions) to images: ``(B, inputs)`` to ``(B, C, H, W)``, float32.

    ``z`` holds ``noise`` numbers that give the styles, and then the noise that is added to every layer's map. While
    training, a share of the examples takes the styles of its later layers from a neighbour in the batch (style mixing:
    Karras, Laine, Aila 2019, https://arxiv.org/abs/1812.04948).

    Args:
        shape: ``(C, H, W)`` of an image.
        noise: number of inputs of the styles.
        style: length of ``w``.
        depth: layers of the mapping network.
        width: channels of the finest stage. They double with every halving, up to four times.
        reading: reads the condition, or ``None``.
        mixing: share of examples with mixed styles while training.
    """

    for_adamw: ClassVar[tuple[str, ...]] = ("entry",)

    mean: Tensor
    """Running mean of ``w``, ``(style,)``, the target of truncation."""

    def __init__(
        self,
        shape: tuple[int, int, int],
        noise: int = 64,
        style: int = 128,
        depth: int = 4,
        width: int = 48,
        reading: Reading | None = None,
        mixing: float = 0.9,
    ) -> None:
        super().__init__()
        self.pyramid, self.noise, self.mixing = Pyramid.to_eight(shape, width), noise, mixing
        widths, self.sizes = self.pyramid.widths[::-1], self.pyramid.sizes[::-1]
        self.entry = nn.Parameter(torch.randn(1, widths[0], *self.sizes[0]))
        self.mapping, self.maps = _Mapping(noise, style, depth, reading), StageMaps(self.pyramid, reading)
        pairs = list(zip([widths[0], *widths[:-1]], widths, strict=True))
        self.first = nn.ModuleList(_Layer(a, b, style) for a, b in pairs)
        self.second = nn.ModuleList(_Layer(b, b, style) for _, b in pairs)
        outputs = self.pyramid.values
        self.images = nn.ModuleList(ModulatedConv(b, outputs, style, 1, demodulate=False) for b in widths)
        self.exit = nn.Parameter(torch.zeros(outputs))
        self.layers = 2 * len(widths)
        self.inputs = noise + 2 * sum(height * across for height, across in self.sizes)
        self.register_buffer("mean", torch.zeros(style))

    def forward(self, z: Tensor, cond: Tensor | None = None, truncation: float = 1.0) -> Tensor:
        """The images. ``truncation`` below 1 pulls every ``w`` towards the mean."""
        w = self.styles(z, cond)
        if truncation != 1:
            w = self.mean.to(w) + truncation * (w - self.mean.to(w))
        return self.synthesis(w, z, cond)

    def styles(self, z: Tensor, cond: Tensor | None = None) -> Tensor:
        """A style for every layer, ``(B, layers, style)``. Mixed while training."""
        w = self.mapping(z[:, : self.noise].to(self.exit.dtype), cond)
        if not self.training:
            return w[:, None].expand(-1, self.layers, -1)
        with torch.no_grad():
            self.mean.lerp_(w.detach().float().mean(0).to(self.mean), 0.005)
        return self._mixed(w)

    def _mixed(self, w: Tensor) -> Tensor:
        """From a random layer on, the style of the next example, for a share ``mixing`` of the batch."""
        first_late = torch.randint(1, self.layers, (len(w), 1, 1), device=w.device)
        first_late = torch.where(torch.rand(len(w), 1, 1, device=w.device) < self.mixing, first_late, self.layers)
        late = torch.arange(self.layers, device=w.device)[None, :, None] >= first_late
        return torch.where(late, w.roll(1, 0)[:, None], w[:, None])

    def synthesis(self, w: Tensor, z: Tensor, cond: Tensor | None = None) -> Tensor:
        """The images of styles ``(B, layers, style)`` and conditions, with each layer's noise from ``z``."""
        noises = self._noises(z.to(self.exit.dtype))
        h, image = self.entry.expand(len(w), -1, -1, -1), None
        for i, (first, second, to_image) in enumerate(zip(self.first, self.second, self.images, strict=True)):
            h = first(_resized(h, self.sizes[i]), w[:, 2 * i], noises[2 * i])
            h = second(self.maps(h, len(self.sizes) - 1 - i, cond), w[:, 2 * i + 1], noises[2 * i + 1])
            stage_image = to_image(h, w[:, 2 * i + 1])
            image = stage_image if image is None else stage_image + _resized(image, self.sizes[i])
        assert image is not None
        return self.pyramid.images((image + self.exit[:, None, None]).float())

    def _noises(self, z: Tensor) -> list[Tensor]:
        """Two noise maps ``(B, 1, h, w)`` for every stage."""
        sizes = [size for size in self.sizes for _ in range(2)]
        parts = torch.split(z[:, self.noise :], [height * across for height, across in sizes], 1)
        return [part.reshape(-1, 1, *size) for part, size in zip(parts, sizes, strict=True)]


def _resized(h: Tensor, size: tuple[int, int]) -> Tensor:
    """A map at another size. Doubling is upsampling with the filter (1, 3, 3, 1)."""
    if h.shape[2:] == size:
        return h
    h = h.contiguous(memory_format=torch.channels_last)
    return F.interpolate(h, size=size, mode="bilinear", align_corners=False)
