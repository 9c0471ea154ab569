"""Autoregressive models of images and clips, pixel by pixel, with exact masses.

    log P(x) = sum_t log P(frame_t | frame_{t-m}, ..., frame_{t-1}),  log P(frame_t | .) = sum_i log P(x_i | x_<i, .)

Planes (the colours of a frame) follow one another, each in raster order. An image is a clip of one frame. One network
models every frame of a clip given the frames before it, in order of their age, so all frames teach the same weights, as
in Video Pixel Networks (Kalchbrenner et al. 2017, https://arxiv.org/abs/1610.00527). Its laws of pixels are mixed with
copies of displaced pixels of the frame before, see :class:`~fourfold.nn.causal.Displacement`.
"""

from __future__ import annotations

from typing import final

import torch
import torch.nn.functional as F
from torch import Tensor

from fourfold.core import Measure, Noise
from fourfold.estimands import StepwiseConditionals
from fourfold.maths.categorical import categorical
from fourfold.nn.causal import CausalConvNet, PlaneCache
from fourfold.paradigms.autoregressive import Drawing

__all__ = ["PixelConditionals"]


@final
class PixelConditionals(StepwiseConditionals):
    """``softmax(net(x_<i))`` over the values of each pixel, plane after plane.

    The network models one plane at a time. It is conditioned on the ``past`` frames before it, the newest first, and on
    the earlier colours of its own frame. A plane is -1 where it is not drawn yet or does not exist.

    Args:
        net: with a kind for each colour, and as many ``known`` planes as it is conditioned on.
        channels: those of the space.
        colours: planes of a frame. By default all channels, which makes an example one frame.
        past: number of earlier frames that a frame depends on.
    """

    measure = Measure.COUNTING
    context: Tensor
    """The planes that each plane is conditioned on, -1 where there is none, ``(channels, known)``."""

    def __init__(
        self,
        net: CausalConvNet,
        channels: int,
        colours: int | None = None,
        past: int = 0,
    ) -> None:
        super().__init__()
        self.net, self.colours, self.past = net, colours or channels, past
        self.event = (channels, net.height, net.width)
        self.register_buffer("context", _context(channels, self.colours, past), persistent=False)

    def forward(self, x: Tensor, cond: Tensor | None = None) -> Tensor:
        """``log P(x_i | x_<i, c)`` of pixel values ``(B, C, H, W)``, ``(B, C · H · W)``, float32."""
        every = torch.arange(x.shape[1], device=x.device).expand(len(x), -1)
        return self.of_planes(x, every, cond).flatten(1)

    def of_planes(self, x: Tensor, planes: Tensor, cond: Tensor | None = None) -> Tensor:
        """``log P(x_i | x_<i, c)`` of some planes ``(B, k)`` of each example, ``(B, k, H · W)``."""
        rows = torch.arange(len(x), device=x.device)[:, None]
        scored = x[rows, planes].flatten(0, 1)
        c = self.net.condition(cond, len(x)).repeated(planes.shape[1])
        kind, context = (planes % self.colours).flatten(), self._context_planes(x, planes)
        logits = self.net(scored, kind, context, before=self._before(x, planes), c=c)
        nats = F.cross_entropy(logits.flatten(0, 2), scored.flatten(), reduction="none")
        return -nats.view(*planes.shape, -1)

    def _context_planes(self, x: Tensor, planes: Tensor) -> Tensor | None:
        """Gather the planes ``(B k, known, H, W)`` that planes ``(B, k)`` of ``x`` are conditioned on."""
        if not self.context.shape[1]:
            return None
        planes_of, rows = self.context[planes], torch.arange(len(x), device=x.device)[:, None, None]
        values = torch.where(planes_of[..., None, None] >= 0, x[rows, planes_of.clamp(min=0)], -1)
        return values.flatten(0, 1)

    def _before(self, x: Tensor, planes: Tensor) -> Tensor | None:
        """Gather planes ``(B, k)`` of the previous frame, ``(B k, H, W)``; -1 where there is none."""
        if not self.past:
            return None
        rows, earlier = torch.arange(len(x), device=x.device)[:, None], planes - self.colours
        return torch.where(earlier[..., None, None] >= 0, x[rows, earlier.clamp(min=0)], -1).flatten(0, 1)

    def begin(self, batch: int, cond: Tensor | None = None) -> Drawing:
        return Drawing(None, cond, torch.zeros(batch, dtype=torch.long, device=self.net.position.device))

    def logits(self, state: Drawing) -> Tensor:
        _, height, width = self.event
        if state.cache is None or state.cache.index == height * width:
            state.cache = self._plane(state)
        logits: Tensor = self.net(state.last, state.last, None, state.cache)
        return logits

    def take(self, state: Drawing, token: Tensor) -> None:
        state.last = token
        state.past.append(token)

    def draw(self, state: Drawing, noise: Noise, temperature: float = 1.0) -> tuple[Tensor, Drawing]:
        token = categorical(self.logits(state) / temperature, state.next_uniforms(noise)[0])
        self.take(state, token)
        return token, state

    def _plane(self, state: Drawing) -> PlaneCache:
        """Make the cache of the next plane, conditioned on those drawn."""
        _, height, width = self.event
        index, batch = len(state.past) // (height * width), len(state.last)
        plane = torch.full((batch, 1), index, device=state.last.device)
        x = torch.zeros(batch, index + 1, height, width, dtype=torch.long, device=plane.device)
        if index:
            x[:, :index] = torch.stack(state.past, 1).view(batch, index, height, width)
        before = self._before(x, plane) if index >= self.colours else None
        c = self.net.condition(state.cond, batch)
        return self.net.cache((plane % self.colours).flatten(), self._context_planes(x, plane), before, c)


def _context(channels: int, colours: int, past: int) -> Tensor:
    """Index the planes that each plane is conditioned on: those of its frame, then those of earlier frames."""
    plane = torch.arange(channels)[:, None]
    frame, colour = plane // colours, torch.arange(colours)
    earlier = ((frame - 1 - torch.arange(past))[..., None] * colours + colour).flatten(1)
    of_frame = torch.where(colour < plane % colours, frame * colours + colour, -1) if colours > 1 else plane[:, :0]
    return torch.cat([of_frame, earlier.clamp(min=-1)], 1)
