"""Presets of autoregressive models of codes: a causal transformer of an image's codes in raster order.

van den Oord, Vinyals, Kavukcuoglu 2017 (https://arxiv.org/abs/1711.00937); Esser, Rombach, Ommer 2021
(https://arxiv.org/abs/2012.09841).
"""

from __future__ import annotations

from collections.abc import Mapping

from fourfold.codecs import QuantisedCodec
from fourfold.core import GenerativeModel, Space, Training
from fourfold.nn.transformer import TokenTransformer
from fourfold.paradigms.autoregressive import Ancestral, ChainRule, MaximumLikelihood, TokenConditionals
from fourfold.paradigms.latent import QuantisedDecoder
from fourfold.recipes import latent
from fourfold.recipes.codes import only_images, unconditional
from fourfold.spaces import Images

__all__ = ["fsq", "vq"]

_TRANSFORMER: Mapping[str, tuple[int, int, int]] = {"xs": (32, 1, 1), "s": (256, 6, 4), "m": (384, 8, 6)}
"""Width, depth and heads of the transformer of the codes."""


def fsq(space: Space, size: str) -> GenerativeModel:
    """The tokenizer rounds numbers to levels (finite scalar quantisation).

    Raises:
        TypeError: for a space other than images.
    """
    images = only_images(space, "an autoregressive model of codes")
    return _tokenized(images, size, latent.fsq(unconditional(images), size))


def vq(space: Space, size: str) -> GenerativeModel:
    """The tokenizer has a learned codebook.

    Raises:
        TypeError: for a space other than images.
    """
    images = only_images(space, "an autoregressive model of codes")
    return _tokenized(images, size, latent.vq(unconditional(images), size))


def _tokenized(images: Images, size: str, tokenizer: GenerativeModel) -> GenerativeModel:
    """A transformer of the tokenizer's codes; a label is the start symbol."""
    decoder = tokenizer.estimand
    assert isinstance(decoder, QuantisedDecoder)
    height, width = decoder.latent
    codec, length = QuantisedCodec(tokenizer, (height, width)), height * width
    net = TokenTransformer(decoder.size, length, *_TRANSFORMER[size], starts=1 + (images.classes or 0))
    estimand, training = TokenConditionals(net, length), Training(batch_size=32, learning_rate=3e-3, muon_rate=2e-2)
    return GenerativeModel(images, codec, estimand, MaximumLikelihood(), Ancestral(), ChainRule(), training)
