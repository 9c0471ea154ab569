"""Presets of autoregressive models of codes: a causal transformer of an image's codes in raster order.

van den Oord, Vinyals, Kavukcuoglu 2017 (https://arxiv.org/abs/1711.00937); Esser, Rombach, Ommer 2021
(https://arxiv.org/abs/2012.09841).
"""

from __future__ import annotations

from collections.abc import Callable

from fourfold.codecs import QuantisedCodec
from fourfold.core import GenerativeModel, Space, Training
from fourfold.nn.reading import reading_of
from fourfold.nn.transformer import TokenTransformer
from fourfold.paradigms.autoregressive import Ancestral, ChainRule, MaximumLikelihood, TokenConditionals
from fourfold.paradigms.latent import QuantisedDecoder
from fourfold.recipes import latent
from fourfold.recipes.by_space import by_space
from fourfold.recipes.sizes import Size, Sizes
from fourfold.spaces import Images

__all__ = ["codes_of", "fsq", "tokenized", "vq"]

TRAINING = Training(batch_size=32, learning_rate=3e-3, muon_rate=2e-2)
TRANSFORMER: Sizes[Size] = Sizes({"xs": Size(32, 1, 1), "s": Size(256, 6, 4), "m": Size(384, 8, 6)})


def fsq(space: Space, size: str) -> GenerativeModel:
    """The tokenizer rounds numbers to a grid (finite scalar quantisation)."""
    return tokenized(space, size, latent.fsq)


def vq(space: Space, size: str) -> GenerativeModel:
    """The tokenizer has a learned codebook."""
    return tokenized(space, size, latent.vq)


def tokenized(space: Space, size: str, tokenizer: Callable[[Space, str], GenerativeModel]) -> GenerativeModel:
    """A transformer of a tokenizer's codes. The condition enters at the start symbol."""
    codec, net_size = codes_of(space, size, tokenizer), TRANSFORMER[size]
    (length,), reading = codec.event, reading_of(space)
    net = TokenTransformer(codec.size, length, net_size.width, net_size.depth, net_size.heads, reading=reading)
    estimand = TokenConditionals(net, length)
    return GenerativeModel(space, codec, estimand, MaximumLikelihood(), Ancestral(), ChainRule(), TRAINING)


@by_space(Images, instead="latent-flow for vectors")
def codes_of(space: Space, size: str, tokenizer: Callable[[Space, str], GenerativeModel]) -> QuantisedCodec:
    """The codec of a tokenizer that is trained first."""
    autoencoder = tokenizer(space.conditioned_on(None), size)
    decoder = autoencoder.estimand
    assert isinstance(decoder, QuantisedDecoder)
    height, width = decoder.latent
    return QuantisedCodec(autoencoder, (height, width))
