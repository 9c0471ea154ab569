"""An invertible network of several scales: activation normalisation, 1 x 1 convolutions, affine couplings.

Kingma, Dhariwal 2018, Glow (https://arxiv.org/abs/1807.03039).
"""

from __future__ import annotations

import math
from typing import ClassVar, NamedTuple, final

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn

from fourfold.core import Part, Reading
from fourfold.nn.entry import ConditionEntry, Passed, read
from fourfold.nn.layers import squeeze, unsqueeze, zeroed

__all__ = ["Glow"]


@final
class _ActNorm(nn.Module):
    """``y = (x - location) / scale · exp(s) + b`` per channel, with location and scale of the first training batch."""

    from_data: ClassVar[bool] = True
    """Whether the first batch in training sets something, so that it must be seen whole."""

    location: Tensor
    scale: Tensor
    ready: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.s, self.b = nn.Parameter(torch.zeros(channels)), nn.Parameter(torch.zeros(channels))
        self.register_buffer("location", torch.zeros(channels))
        self.register_buffer("scale", torch.ones(channels))
        self.register_buffer("ready", torch.zeros((), dtype=torch.bool))

    @torch.no_grad()
    def _prepare(self, x: Tensor) -> None:
        """Take the statistics of the first batch, of all processes together."""
        moments = torch.stack([x.mean((0, 2, 3)), x.square().mean((0, 2, 3))])
        if dist.is_available() and dist.is_initialized():
            dist.all_reduce(moments)
            moments /= dist.get_world_size()
        self.location.copy_(moments[0])
        self.scale.copy_((moments[1] - moments[0].square()).clamp(min=1e-4).sqrt())
        self.ready.fill_(True)

    def forward(self, x: Tensor, to_noise: bool) -> tuple[Tensor, Tensor]:
        if self.training and to_noise and not self.ready:
            self._prepare(x)
        gain = (self.s.float().exp() / self.scale)[:, None, None]
        shift = self.b.float()[:, None, None] - self.location[:, None, None] * gain
        log_det = gain.log().sum() * x[0, 0].numel()
        return (x * gain + shift, log_det) if to_noise else ((x - shift) / gain, -log_det)


@final
class _Mixing(nn.Module):
    """A 1 x 1 convolution by ``W = P L (U + diag(sign · exp(s)))``, at first a rotation. ``log |det W| = sum s``."""

    for_adamw: ClassVar[tuple[str, ...]] = ("lower", "upper")
    permutation: Tensor
    sign: Tensor

    def __init__(self, channels: int, seed: int) -> None:
        super().__init__()
        square = torch.randn(channels, channels, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
        p, lower, upper = torch.linalg.lu(torch.linalg.qr(square)[0])
        diagonal = upper.diagonal()
        self.register_buffer("permutation", p.float(), persistent=False)
        self.register_buffer("sign", diagonal.sign().float(), persistent=False)
        self.lower, self.upper = nn.Parameter(lower.tril(-1).float()), nn.Parameter(upper.triu(1).float())
        self.s = nn.Parameter(diagonal.abs().log().float())

    def _matrix(self) -> Tensor:
        lower = self.lower.float().tril(-1) + torch.eye(len(self.s), device=self.s.device)
        upper = self.upper.float().triu(1) + torch.diag(self.sign * self.s.float().exp())
        return self.permutation @ lower @ upper

    def forward(self, x: Tensor, to_noise: bool) -> tuple[Tensor, Tensor]:
        log_det = self.s.float().sum() * x[0, 0].numel()
        W = self._matrix() if to_noise else torch.linalg.inv(self._matrix().double()).float()
        return F.conv2d(x, W[:, :, None, None]), log_det if to_noise else -log_det


class _Condition(NamedTuple):
    """A condition at one scale."""

    vector: Tensor | None
    """``(B, width)``, as an outer network read it."""
    maps: Tensor | None
    """``(B, maps, h, w)`` at the size of the scale, or ``None``."""


@final
class _Coupling(nn.Module):
    """``(a, b) -> (a, b exp(s(a)) + t(a))`` over channels, with ``|s| < 2``. The identity at the start."""

    for_adamw: ClassVar[tuple[str, ...]] = ("entry", "exit")

    def __init__(self, fixed: int, moved: int, width: int, reading: Reading | None, maps: int) -> None:
        super().__init__()
        self.fixed = fixed
        self.entry, self.middle = nn.Conv2d(fixed + maps, width, 3, padding=1), nn.Conv2d(width, width, 1)
        self.exit = zeroed(nn.Conv2d(width, 2 * moved, 3, padding=1))
        self.given = ConditionEntry.of(reading, width)

    def _numbers(self, a: Tensor, c: _Condition) -> tuple[Tensor, Tensor]:
        h = self.entry((a if c.maps is None else torch.cat([a, c.maps], 1)).to(self.entry.weight.dtype))
        if self.given is not None:
            h = h + self.given(c.vector, len(a))[:, :, None, None]
        s, t = self.exit(F.relu(self.middle(F.relu(h)))).float().chunk(2, 1)
        return 2 * torch.tanh(s / 2), t

    def forward(self, x: Tensor, c: _Condition, to_noise: bool) -> tuple[Tensor, Tensor]:
        a, b = x[:, : self.fixed], x[:, self.fixed :]
        s, t = self._numbers(a, c)
        b, log_det = (b * s.exp() + t, s) if to_noise else ((b - t) * (-s).exp(), -s)
        return torch.cat([a, b], 1), log_det.flatten(1).sum(1)


@final
class _Step(nn.Module):
    """Normalise, mix channels, couple: one step of flow."""

    def __init__(self, channels: int, width: int, seed: int, reading: Reading | None, maps: int) -> None:
        super().__init__()
        self.norm, self.mixing = _ActNorm(channels), _Mixing(channels, seed)
        self.coupling = _Coupling(channels - channels // 2, channels // 2, width, reading, maps)

    def forward(self, x: Tensor, c: _Condition, to_noise: bool) -> tuple[Tensor, Tensor]:
        if to_noise:
            x, first = self.norm(x, True)
            x, second = self.mixing(x, True)
            x, third = self.coupling(x, c, True)
        else:
            x, third = self.coupling(x, c, False)
            x, second = self.mixing(x, False)
            x, first = self.norm(x, False)
        return x, first + second + third


def _plan(channels: int, height: int, width: int, most: int) -> list[tuple[int, int]]:
    """The squeeze of each scale, by 2 along even sides, until no side is even or there are ``most`` scales."""
    levels: list[tuple[int, int]] = []
    while len(levels) < most:
        p, q = 2 - height % 2, 2 - width % 2
        if levels and (p, q) == (1, 1):
            break
        levels.append((p, q))
        channels, height, width = channels * p * q, height // p, width // q
        channels -= channels // 2
    return levels


@final
class Glow(Part, nn.Module):
    """An invertible map of images. At each scale half of the channels leave as noise, given the other half.

    Odd sides are not squeezed, since an invertible map cannot pad.

    Args:
        shape: channels, height and width.
        width: channels of the networks in couplings.
        steps: steps of flow at each scale.
        levels: largest number of scales.
        reading: reads the condition, or ``None``.

    Raises:
        ValueError: for one channel and odd sides, which leave nothing to couple.
    """

    summary = "convolutions at several scales"

    def __init__(
        self,
        shape: tuple[int, int, int],
        width: int = 64,
        steps: int = 4,
        levels: int = 3,
        reading: Reading | None = None,
    ) -> None:
        super().__init__()
        self.shape, self.reading = tuple(shape), reading
        self.plan = _plan(*shape, levels)
        if shape[0] == 1 and self.plan[0] == (1, 1):
            raise ValueError(f"shape must have several channels or an even side to couple, got {tuple(shape)}")
        self.levels, self.splits, channels = nn.ModuleList(), nn.ModuleList(), shape[0]
        for i, (p, q) in enumerate(self.plan):
            channels, maps = channels * p * q, 0 if reading is None else reading.maps * p * q
            self.levels.append(
                nn.ModuleList(_Step(channels, width, 100 * i + k, Passed.of(reading), maps) for k in range(steps))
            )
            if i < len(self.plan) - 1:
                self.splits.append(_Coupling(channels - channels // 2, channels // 2, width, Passed.of(reading), maps))
                channels -= channels // 2

    def forward(self, h: Tensor, cond: Tensor | None = None, to_noise: bool = False) -> tuple[Tensor, Tensor]:
        """Noise to images or back, ``(B, *shape)``, and the log-determinant in that direction, ``(B,)``."""
        conditions = self._conditions(cond, len(h))
        return self._to_noise(h, conditions) if to_noise else self._to_data(h, conditions)

    def _conditions(self, cond: Tensor | None, batch: int) -> list[_Condition]:
        """The conditions at every scale."""
        vector, (_, height, width), conditions = read(self.reading, cond, batch), self.shape, []
        for p, q in self.plan:
            maps = None
            if self.reading is not None and self.reading.maps:
                maps = squeeze(self.reading.spread(cond, batch, (height, width)), p, q)
            conditions.append(_Condition(vector, maps))
            height, width = height // p, width // q
        return conditions

    def _to_noise(self, x: Tensor, c: list[_Condition]) -> tuple[Tensor, Tensor]:
        log_det, parts = x.new_zeros(len(x)), []
        for i, (p, q) in enumerate(self.plan):
            x = squeeze(x, p, q)
            x, change = self._steps(i, x, c[i], True)
            log_det = log_det + change
            if i < len(self.splits):
                x, change = self.splits[i](x, c[i], True)
                log_det, keep = log_det + change, x.shape[1] - x.shape[1] // 2
                parts.append(x[:, keep:])
                x = x[:, :keep]
        return torch.cat([part.flatten(1) for part in (*parts, x)], 1).view(len(x), *self.shape), log_det

    def _to_data(self, z: Tensor, c: list[_Condition]) -> tuple[Tensor, Tensor]:
        shapes = self._shapes()
        *parts, x = torch.split(z.flatten(1), [math.prod(shape) for shape in shapes], 1)
        x, log_det = x.reshape(-1, *shapes[-1]), z.new_zeros(len(z))
        for i in reversed(range(len(self.plan))):
            if i < len(self.splits):
                x, change = self.splits[i](torch.cat([x, parts[i].reshape(-1, *shapes[i])], 1), c[i], False)
                log_det = log_det + change
            x, change = self._steps(i, x, c[i], False)
            x, log_det = unsqueeze(x, *self.plan[i]), log_det + change
        return x, log_det

    def _steps(self, level: int, x: Tensor, c: _Condition, to_noise: bool) -> tuple[Tensor, Tensor]:
        """All steps at one scale."""
        steps = list(self.levels[level])  # type: ignore[call-overload]
        log_det = x.new_zeros(len(x))
        for step in steps if to_noise else reversed(steps):
            x, change = step(x, c, to_noise)
            log_det = log_det + change
        return x, log_det

    def _shapes(self) -> list[tuple[int, int, int]]:
        """The shapes of the parts that leave at each scale, and of the part that remains."""
        (C, H, W), shapes = self.shape, []
        for i, (p, q) in enumerate(self.plan):
            C, H, W = C * p * q, H // p, W // q
            if i < len(self.splits):
                shapes.append((C // 2, H, W))
                C -= C // 2
        return [*shapes, (C, H, W)]
