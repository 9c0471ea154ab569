"""Presets of models of clips in time: diffusion in sizes xs to xl, autoregression in xs, s and m."""

from __future__ import annotations

import math

from fourfold.codecs import Dequantised, Tokens
from fourfold.core import GenerativeModel, Training
from fourfold.nn.causal import CausalConvNet
from fourfold.nn.reading import reading_of
from fourfold.paradigms.autoregressive import Ancestral, ChainRule
from fourfold.paradigms.pixels import PixelConditionals
from fourfold.recipes.autoregressive import IMAGES, default
from fourfold.recipes.by_space import by_space
from fourfold.recipes.diffusion import Parts, flow_likelihood, parts
from fourfold.recipes.networks import sides
from fourfold.recipes.sizes import Size, Sizes
from fourfold_video.networks import VideoUNet
from fourfold_video.paradigm import FrameLikelihood
from fourfold_video.space import Video

__all__ = ["denoised", "frames"]

CLIPS: Sizes[tuple[Size, Size]] = Sizes(
    {
        "xs": (Size(32, 1), Size(64, 1, 2)),
        "s": (Size(256, 2), Size(384, 4, 6)),
        "m": (Size(320, 3), Size(512, 6, 8)),
        "l": (Size(640, 4), Size(896, 10, 14)),
        "xl": (Size(1792, 4), Size(2304, 12, 18)),
    }
)
"""The convolutions of a network of clips, with their number on the way down and up, and its transformer."""
EARLIER: Sizes[Size] = Sizes({"xs": Size(32, 1), "s": Size(96, 2), "m": Size(128, 3)})
"""The network that reads the earlier frames of a clip."""
PAST = 4
"""Earlier frames that a frame of a clip depends on."""
MOVED = 3
"""Pixels that something may move from frame to frame and still be copied."""


@parts.register
def denoised(space: Video, size: str, times: int = 1) -> Parts:
    """Patches of two frames, and more noise than for images.

    What all of ``T`` frames show together is seen through ``sqrt(T)`` times the noise (Hoogeboom, Heek, Salimans 2023,
    https://arxiv.org/abs/2301.11093, of pixels); what frames show each is seen where it is for images.
    """
    (fine, coarse), patch = CLIPS[size], 1 if max(space.height, space.width) < 8 else 4
    widths, blocks = (fine.width, coarse.width), (fine.depth, coarse.depth)
    event = sides(space)
    net = VideoUNet(event, space.frames, widths, blocks, coarse.heads, patch, 2, reading_of(space), times)
    # with Muon's rate for images, clips at rare noise levels reach losses of some thousands
    training = Training(16, 2e-3, muon_rate=0.015)
    noise = (-1.2 + math.log(space.frames) / 2, 1.6)
    return Parts(net, Dequantised(space), flow_likelihood(space, size, 2), training, noise)


@default.register
def _(space: Video) -> str:
    return "frames"


@by_space(Video, instead="autoregressive")
def frames(space: Video, size: str) -> GenerativeModel:
    """Frame after frame, by one network of every frame given those before it."""
    (lower, upper), reader, past = IMAGES[size], EARLIER[size], min(PAST, space.frames - 1)
    net = CausalConvNet(
        space.n_values,
        space.height,
        space.width,
        lower.width,
        lower.width,
        lower.depth,
        upper.width,
        upper.depth,
        kinds=space.colours,
        reading=reading_of(space),
        planes=(past + (space.colours > 1)) * space.colours,
        reader=reader.width,
        reader_depth=reader.depth,
        moved=MOVED,
        overall=True,
    )
    estimand = PixelConditionals(net, space.channels, space.colours, past)
    parts = (Tokens(space), estimand, FrameLikelihood(), Ancestral(), ChainRule())
    return GenerativeModel(space, *parts, Training(batch_size=16, learning_rate=2e-3, muon_rate=2e-2))
