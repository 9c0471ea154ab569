"""Presets of autoregressive models of codes: a causal transformer of an image's codes in raster order.

van den Oord, Vinyals, Kavukcuoglu 2017 (https://arxiv.org/abs/1711.00937); Esser, Rombach, Ommer 2021
(https://arxiv.org/abs/2012.09841).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import singledispatch

from fourfold.codecs import QuantisedCodec
from fourfold.core import GenerativeModel, Space, Training
from fourfold.nn.transformer import TokenTransformer
from fourfold.paradigms.autoregressive import Ancestral, ChainRule, MaximumLikelihood, TokenConditionals
from fourfold.paradigms.latent import QuantisedDecoder
from fourfold.recipes import latent
from fourfold.recipes.sizes import Size, Sizes
from fourfold.spaces import Images

__all__ = ["fsq", "tokenized", "vq"]

TRANSFORMER: Sizes[Size] = Sizes({"xs": Size(32, 1, 1), "s": Size(256, 6, 4), "m": Size(384, 8, 6)})


def fsq(space: Space, size: str) -> GenerativeModel:
    """The tokenizer rounds numbers to levels (finite scalar quantisation)."""
    return tokenized(space, size, latent.fsq)


def vq(space: Space, size: str) -> GenerativeModel:
    """The tokenizer has a learned codebook."""
    return tokenized(space, size, latent.vq)


@singledispatch
def tokenized(space: Space, size: str, tokenizer: Callable[[Space, str], GenerativeModel]) -> GenerativeModel:
    """A transformer of a tokenizer's codes; a label is the start symbol. Another space registers its own.

    Raises:
        TypeError: for a space that is not registered.
    """
    kind = type(space).__name__
    raise TypeError(f"an autoregressive model of codes is of images, not of {kind}: use latent-flow for vectors")


@tokenized.register
def _(space: Images, size: str, tokenizer: Callable[[Space, str], GenerativeModel]) -> GenerativeModel:
    autoencoder, chosen = tokenizer(space.conditioned(), size), TRANSFORMER[size]
    decoder = autoencoder.estimand
    assert isinstance(decoder, QuantisedDecoder)
    height, width = decoder.latent
    codec, length = QuantisedCodec(autoencoder, (height, width)), height * width
    starts = 1 + (space.classes or 0)
    net = TokenTransformer(decoder.size, length, chosen.width, chosen.depth, chosen.heads, starts=starts)
    estimand, training = TokenConditionals(net, length), Training(batch_size=32, learning_rate=3e-3, muon_rate=2e-2)
    return GenerativeModel(space, codec, estimand, MaximumLikelihood(), Ancestral(), ChainRule(), training)
