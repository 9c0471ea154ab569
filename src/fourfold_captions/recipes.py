"""The preset of a model of captioned examples in both directions."""

from __future__ import annotations

from fourfold.core import GenerativeModel, Space
from fourfold.nn.transformer import TokenTransformer
from fourfold.paradigms.autoregressive import Ancestral, ChainRule
from fourfold.recipes import latent
from fourfold.recipes.latent_autoregressive import TRAINING, TRANSFORMER, codes_of
from fourfold.recipes.sizes import Sizes
from fourfold.spaces import Lines
from fourfold_captions.multimodal import BothOrders, PairConditionals
from fourfold_captions.words import CaptionWords

__all__ = ["multimodal"]

WORDS: Sizes[int] = Sizes({"xs": 32, "s": 1024, "m": 4096})
"""The most words that a multimodal model knows as one token."""


def multimodal(space: Space, size: str) -> GenerativeModel:
    """One transformer of the tokens of captioned images or sounds and the words of their captions, in both orders.

    Raises:
        TypeError: for images or sounds without captions.
    """
    codec = codes_of(space, size, latent.fsq)
    if not isinstance(space.given, Lines):
        raise TypeError(
            f"conditions must be captions for a multimodal model, got {space.given}; load with --given captions"
        )
    (tokens,), net_size = codec.event, TRANSFORMER[size]
    caption = space.given.text.length - 1
    longest = tokens + caption + 3
    words = CaptionWords(WORDS[size])
    net = TokenTransformer(codec.size + words.size, longest, net_size.width, net_size.depth, net_size.heads, starts=2)
    estimand = PairConditionals(net, words, codec.size, tokens, caption)
    return GenerativeModel(space, codec, estimand, BothOrders(), Ancestral(), ChainRule(), TRAINING)
