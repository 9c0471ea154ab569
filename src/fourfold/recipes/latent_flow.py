"""Presets of flows of codes: a variational autoencoder, and a flow that is trained as the prior of its codes.

Chen et al. 2017, Variational Lossy Autoencoder (https://arxiv.org/abs/1611.02731), where both are trained together.
"""

from __future__ import annotations

from fourfold.codecs import LearnedCodec
from fourfold.core import GenerativeModel, Space
from fourfold.paradigms.latent import CodeDecoder
from fourfold.recipes import flow
from fourfold.recipes.latent import convolutional

__all__ = ["coupling", "vector_codes"]


def coupling(space: Space, size: str) -> GenerativeModel:
    """A coupling flow of the codes of :func:`fourfold.recipes.latent.convolutional`."""
    codec = vector_codes(space, size)
    return flow.of_columns(space, codec, flow.couplings(space, codec.event[0], size))


def vector_codes(space: Space, size: str) -> LearnedCodec:
    """The autoencoder of :func:`fourfold.recipes.latent.convolutional`, without labels and without its prior."""
    bare = space.conditioned_on(None)
    bottleneck = convolutional(bare, size)
    decoder = bottleneck.estimand
    assert isinstance(decoder, CodeDecoder)
    plain = CodeDecoder(decoder.net, decoder.head, decoder.event, decoder.codes)
    parts = (bottleneck.objective, bottleneck.sampler, bottleneck.likelihood, bottleneck.training_defaults)
    return LearnedCodec(GenerativeModel(bare, bottleneck.codec, plain, *parts))
