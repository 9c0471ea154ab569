"""Presets of flows of the codes of a variational autoencoder."""

from __future__ import annotations

from fourfold.codecs import LearnedCodec
from fourfold.core import (
    GenerativeModel,
    Space,
)
from fourfold.paradigms.hybrid import behind
from fourfold.paradigms.latent import CodeDecoder
from fourfold.recipes import flow
from fourfold.recipes.codes import unconditional
from fourfold.recipes.latent import convolutional
from fourfold.spaces import Vectors

__all__ = ["coupling"]


def coupling(space: Space, size: str) -> GenerativeModel:
    """A variational autoencoder whose prior is a coupling flow, trained when the codes are (Chen et al. 2017).

    Paper: Chen et al. 2017, Variational Lossy Autoencoder (https://arxiv.org/abs/1611.02731), where both are trained
    together.

    Raises:
        TypeError: for a space that is neither images nor vectors.
    """
    bare = unconditional(space)
    learned = convolutional(bare, size)
    decoder = learned.estimand
    assert isinstance(decoder, CodeDecoder)
    plain = CodeDecoder(decoder.net, decoder.head, decoder.event, decoder.codes)
    parts = (learned.objective, learned.sampler, learned.likelihood, learned.training_defaults)
    codec = LearnedCodec(GenerativeModel(bare, learned.codec, plain, *parts))
    return behind(codec, flow.coupling(Vectors(codec.event[0], classes=space.classes), size), space)
