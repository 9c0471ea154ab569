"""Presets of latent-variable models: networks and codecs by space, sizes xs, s and m."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from torch import nn

from fourfold.codecs import Centred, Standardised
from fourfold.core import (
    GenerativeModel,
    Likelihood,
    Space,
    Training,
)
from fourfold.nn.autoencoder import MapDecoder, MapEncoder, PatchCritic, code_size
from fourfold.nn.coupling import Couplings
from fourfold.nn.ladder import LadderDecoder, LadderEncoder
from fourfold.nn.prior import IndependentCodes, IndependentGaussians, Mixture, Prior
from fourfold.nn.quantise import Codebook, FiniteScalars, Quantiser
from fourfold.nn.resnet import ResMLP, ResNetDecoder, ResNetEncoder
from fourfold.paradigms.latent import (
    AsDraw,
    AsMedian,
    CodeBound,
    CodedDecoder,
    CodeDecoder,
    Elbo,
    GaussianHead,
    Head,
    LogisticHead,
    PerceptualBound,
    PriorThenDecode,
    QuantisedDecoder,
    RungDecoder,
    VariationalBound,
)
from fourfold.spaces import Images, Vectors

__all__ = ["convolutional", "fsq", "kl", "ladder", "mixture", "vq"]


@dataclass(frozen=True)
class _Size:
    """Channels, residual blocks, code length, and the width of the prior's networks."""

    width: int
    blocks: int
    codes: int
    prior: int
    layers: int
    rungs: int = 1
    channels: int = 4


_IMAGES: Mapping[str, _Size] = {
    "xs": _Size(32, 1, 32, 128, 4),
    "s": _Size(64, 1, 64, 256, 6),
    "m": _Size(96, 2, 128, 512, 8),
}
_VECTORS: Mapping[str, _Size] = {
    "xs": _Size(64, 2, 8, 64, 4),
    "s": _Size(128, 2, 16, 64, 6),
    "m": _Size(256, 4, 32, 128, 8),
}


def convolutional(space: Space, size: str) -> GenerativeModel:
    """A variational autoencoder: residual convolutions for images, residual perceptrons for vectors; a flow as prior.

    Raises:
        TypeError: for a space that is neither images nor vectors.
    """
    return _of_vectors(space, size, _flow)


def mixture(space: Space, size: str) -> GenerativeModel:
    """As :func:`convolutional`, with a mixture of Gaussians as prior.

    Raises:
        TypeError: for a space that is neither images nor vectors.
    """
    return _of_vectors(space, size, lambda codes, chosen, classes: Mixture(codes, 2 * chosen.prior, classes))


_PriorOf = Callable[[int, _Size, int | None], Prior]


def _flow(codes: int, chosen: _Size, classes: int | None) -> Prior:
    return Couplings(codes, chosen.prior, 1, chosen.layers, classes)


def _of_vectors(space: Space, size: str, prior: _PriorOf) -> GenerativeModel:
    """The model whose code is one vector."""
    if isinstance(space, Vectors):
        return _vectors(space, _VECTORS[size], prior)
    if not isinstance(space, Images):
        raise TypeError(f"the latent-variable model is of images or vectors, not of {type(space).__name__}")
    chosen, head, shape = _IMAGES[size], LogisticHead(space.levels), (space.channels, space.height, space.width)
    width, blocks, codes, classes = chosen.width, chosen.blocks, chosen.codes, space.classes
    net = ResNetDecoder(codes, shape, head.values * space.channels, width, blocks, classes)
    encoder = ResNetEncoder(shape, 2 * codes, width, blocks, classes)
    return _model_of(space, CodeDecoder(net, head, space.shape, codes, prior(codes, chosen, classes)), encoder)


def ladder(space: Space, size: str) -> GenerativeModel:
    """A variational autoencoder of images with noise of its own at every stage of the decoder.

    Raises:
        TypeError: for a space other than images.
    """
    if not isinstance(space, Images):
        raise TypeError(f"the ladder is of images, not of {type(space).__name__}: use latent-variable")
    chosen, head, shape = _IMAGES[size], LogisticHead(space.levels), (space.channels, space.height, space.width)
    codes, classes, rest = chosen.codes, space.classes, (chosen.width, chosen.rungs, chosen.channels, space.classes)
    net = LadderDecoder(codes, shape, head.values * space.channels, *rest)
    prior = _flow(codes, chosen, classes)
    return _model_of(space, RungDecoder(net, head, space.shape, codes, prior), LadderEncoder(shape, 2 * codes, *rest))


def _model_of(space: Images, decoder: CodedDecoder, encoder: nn.Module) -> GenerativeModel:
    """The model of images around a decoder and its encoder."""
    return GenerativeModel(
        space,
        Centred(space),
        decoder,
        VariationalBound(encoder, beta=0.3),
        PriorThenDecode(AsMedian()),
        Elbo(),
        Training(batch_size=64, learning_rate=2e-3, muon_rate=3e-2, warmup=0.1),
    )


def _vectors(space: Vectors, size: _Size, prior: _PriorOf) -> GenerativeModel:
    codes = min(max(2, space.dim), size.codes)
    head, classes = GaussianHead(), space.classes
    net = ResMLP(codes, head.values * space.dim, size.width, size.blocks, classes)
    encoder = ResMLP(space.dim, 2 * codes, size.width, size.blocks, classes)
    return GenerativeModel(
        space,
        Standardised(space),
        CodeDecoder(net, head, space.shape, codes, prior(codes, size, classes)),
        VariationalBound(encoder),
        PriorThenDecode(AsDraw()),
        Elbo(),
        Training(batch_size=256, learning_rate=2e-3, warmup=0.1, smoothing=0.5),
    )


@dataclass(frozen=True)
class _MapSize:
    """Channels and residual blocks of the networks, channels of a Gaussian code, levels of a quantised one."""

    width: int
    blocks: int
    critic: int
    channels: int
    levels: tuple[int, ...]
    size: int


_MAPS: Mapping[str, _MapSize] = {
    "xs": _MapSize(16, 1, 16, 2, (5, 5), 16),
    "s": _MapSize(64, 1, 32, 4, (8, 5, 5, 5), 1024),
    "m": _MapSize(96, 2, 48, 4, (8, 5, 5, 5), 1024),
}


def _factor(space: Images) -> int:
    """How many pixels a code stands for in each direction: 2, and from 17 pixels on 4, from 65 on 8."""
    side = max(space.height, space.width)
    return 2 if side <= 16 else 4 if side <= 64 else 8


def _autoencoder(space: Space, size: str, outputs: int, inputs: int) -> tuple[Images, MapEncoder, MapDecoder, Head]:
    """The networks of an autoencoder of maps.

    Raises:
        TypeError: for a space other than images.
    """
    if not isinstance(space, Images):
        raise TypeError(f"codes that are maps are of images, not of {type(space).__name__}: use latent-variable")
    chosen, shape, factor = _MAPS[size], (space.channels, space.height, space.width), _factor(space)
    head = LogisticHead(space.levels)
    encoder = MapEncoder(shape, outputs, chosen.width, chosen.blocks, factor)
    net = MapDecoder(inputs, shape, head.values * space.channels, chosen.width, chosen.blocks, factor)
    return space, encoder, net, head


def _map_model(
    space: Images, size: str, decoder: CodedDecoder, encoder: MapEncoder, beta: float, likelihood: Likelihood
) -> GenerativeModel:
    """The model around an autoencoder of maps."""
    critic = PatchCritic((space.channels, space.height, space.width), _MAPS[size].critic)
    return GenerativeModel(
        space,
        Centred(space),
        decoder,
        PerceptualBound(encoder, critic, beta),
        PriorThenDecode(AsMedian()),
        likelihood,
        Training(batch_size=64, learning_rate=2e-3, muon_rate=2e-2, warmup=0.1),
    )


def kl(space: Space, size: str) -> GenerativeModel:
    """An autoencoder of images whose codes are maps of Gaussians (:class:`PerceptualBound`): what diffusion is run on.

    Raises:
        TypeError: for a space other than images.
    """
    channels = _MAPS[size].channels
    images, encoder, net, head = _autoencoder(space, size, 2 * channels, channels)
    codes = (channels, *code_size(images.shape, _factor(images)))
    decoder = CodeDecoder(net, head, images.shape, codes, IndependentGaussians(codes, images.classes))
    return _map_model(images, size, decoder, encoder, 0.1, Elbo())


def _quantised(space: Space, size: str, quantiser: Quantiser) -> GenerativeModel:
    images, encoder, net, head = _autoencoder(space, size, quantiser.channels, quantiser.channels)
    prior = IndependentCodes(code_size(images.shape, _factor(images)), quantiser.size, images.classes)
    decoder = QuantisedDecoder(net, head, images.shape, quantiser, prior)
    return _map_model(images, size, decoder, encoder, 1.0, CodeBound())


def fsq(space: Space, size: str) -> GenerativeModel:
    """An autoencoder of images whose codes are maps of whole numbers, by finite scalar quantisation.

    Raises:
        TypeError: for a space other than images.
    """
    return _quantised(space, size, FiniteScalars(_MAPS[size].levels))


def vq(space: Space, size: str) -> GenerativeModel:
    """An autoencoder of images whose codes are maps of whole numbers, by a learned codebook.

    Raises:
        TypeError: for a space other than images.
    """
    return _quantised(space, size, Codebook(_MAPS[size].size, 8))
