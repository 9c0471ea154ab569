"""Presets of autoregressive models: networks and codecs by space, in sizes xs, s and m."""

from __future__ import annotations

from functools import singledispatch

from fourfold.codecs import Standardised, TextTokens, Tokens
from fourfold.core import Codec, GenerativeModel, Space, Training
from fourfold.estimands import Conditionals
from fourfold.nn.causal import CausalConvNet
from fourfold.nn.transformer import TokenTransformer, ValueTransformer
from fourfold.paradigms.autoregressive import (
    Ancestral,
    ChainRule,
    MaximumLikelihood,
    PixelConditionals,
    TokenConditionals,
    VectorConditionals,
)
from fourfold.spaces import Images, Text, Vectors

__all__ = ["likelihood"]


@singledispatch
def likelihood(space: Space, size: str) -> GenerativeModel:
    """A product of conditionals by maximum likelihood; another space registers its own.

    Raises:
        TypeError: for a space that is not registered.
    """
    raise TypeError(f"autoregressive models know text, images and vectors, not {type(space).__name__}")


@likelihood.register
def _(space: Text, size: str) -> GenerativeModel:
    width, depth, heads = {"xs": (64, 2, 1), "s": (128, 4, 2), "m": (256, 4, 4)}[size]
    net = TokenTransformer(space.tokens, space.length, width, depth, heads)
    training = Training(batch_size=32, learning_rate=3e-3, muon_rate=2e-2)
    return _model(space, TextTokens(space), TokenConditionals(net, space.length), training)


@likelihood.register
def _(space: Images, size: str) -> GenerativeModel:
    channels, depth, upper, upper_depth = {"xs": (32, 3, 32, 1), "s": (96, 8, 64, 3), "m": (128, 12, 96, 4)}[size]
    net = CausalConvNet(
        space.levels,
        space.height,
        space.width,
        channels,
        channels,
        depth,
        upper,
        upper_depth,
        labels=space.channels * ((space.classes or 0) + 1),
        known=space.channels if space.channels > 1 else 0,
    )
    training = Training(batch_size=16, learning_rate=2e-3, muon_rate=2e-2)
    return _model(space, Tokens(space), PixelConditionals(net, space.channels, space.classes), training)


@likelihood.register
def _(space: Vectors, size: str) -> GenerativeModel:
    width, depth, heads, components = {"xs": (32, 1, 1, 8), "s": (96, 2, 2, 24), "m": (192, 4, 4, 32)}[size]
    net = ValueTransformer(space.dim, 3 * components, width, depth, heads, classes=space.classes)
    training = Training(batch_size=256, learning_rate=2e-3, muon_rate=1e-2, smoothing=0.5)
    return _model(space, Standardised(space), VectorConditionals(net, space.dim, components), training)


def _model(space: Space, codec: Codec, estimand: Conditionals, training: Training) -> GenerativeModel:
    """The parts that all spaces share."""
    return GenerativeModel(space, codec, estimand, MaximumLikelihood(), Ancestral(), ChainRule(), training)
