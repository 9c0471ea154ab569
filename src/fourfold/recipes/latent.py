"""Presets of latent-variable models: networks and codecs by space, in sizes xs, s and m."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial, singledispatch

from torch import nn

from fourfold.codecs import Centred, ColumnTokens, Standardised
from fourfold.core import Codec, GenerativeModel, Likelihood, Reading, Space, Training
from fourfold.distributions.observations import AsDraw, AsMedian, GaussianHead, Head, LogisticHead
from fourfold.distributions.tokens import TokenHead
from fourfold.nn.autoencoder import MapDecoder, MapEncoder, PatchCritic
from fourfold.nn.columns import TableEncoder
from fourfold.nn.coupling import Couplings
from fourfold.nn.ladder import LadderDecoder, LadderEncoder
from fourfold.nn.prior import CodeMixture, IndependentCodes, IndependentGaussians, Mixture, Prior
from fourfold.nn.pyramid import code_size
from fourfold.nn.quantise import Codebook, FiniteScalars, Quantiser
from fourfold.nn.reading import reading_of
from fourfold.nn.resnet import ResMLP, ResNetDecoder, ResNetEncoder
from fourfold.paradigms.latent import (
    CodeBound,
    CodedDecoder,
    CodeDecoder,
    Elbo,
    PriorThenDecode,
    QuantisedDecoder,
    RungDecoder,
    VariationalBound,
)
from fourfold.paradigms.perceptual import PerceptualBound
from fourfold.recipes.by_space import by_space
from fourfold.recipes.networks import batch_of, bins_of, sides
from fourfold.recipes.sizes import Size, Sizes
from fourfold.spaces import Images, Table, Vectors

__all__ = ["Autoencoder", "autoencoder", "coded", "convolutional", "fsq", "kl", "ladder", "mixture", "quantised", "vq"]

IMAGES: Sizes[Size] = Sizes({"xs": Size(32, 1), "s": Size(64, 1), "m": Size(96, 2)})
"""The size of encoder and decoder."""
VECTORS: Sizes[Size] = Sizes({"xs": Size(64, 2), "s": Size(128, 2), "m": Size(256, 4)})
IMAGE_CODES: Sizes[int] = Sizes({"xs": 32, "s": 64, "m": 128})
"""Length of a code that is a vector."""
VECTOR_CODES: Sizes[int] = Sizes({"xs": 8, "s": 16, "m": 32})
TABLES: Sizes[Size] = Sizes({"xs": Size(64, 2), "s": Size(256, 2), "m": Size(384, 4)})
TABLE_CODES: Sizes[tuple[int, int]] = Sizes({"xs": (32, 8), "s": (256, 32), "m": (512, 64)})
"""The most bins of a number, and length of a code."""
TABLE_WEIGHTS = 2**25
"""The most weights of the layer of logits: networks of wide tables are narrower."""
IMAGE_PRIOR: Sizes[Size] = Sizes({"xs": Size(128, 4), "s": Size(256, 6), "m": Size(512, 8)})
"""The size of the flow that is the prior. A mixture has twice as many components as a layer has features."""
VECTOR_PRIOR: Sizes[Size] = Sizes({"xs": Size(64, 4), "s": Size(64, 6), "m": Size(128, 8)})

MAPS: Sizes[Size] = Sizes({"xs": Size(16, 1), "s": Size(64, 1), "m": Size(96, 2)})
"""The size of encoder and decoder of codes that are maps."""
CRITIC: Sizes[Size] = Sizes({"xs": Size(16), "s": Size(32), "m": Size(48)})
CODE_CHANNELS: Sizes[int] = Sizes({"xs": 2, "s": 4, "m": 4})
"""Numbers in a Gaussian code."""
LEVELS: Sizes[tuple[int, ...]] = Sizes({"xs": (5, 5), "s": (8, 5, 5, 5), "m": (8, 5, 5, 5)})
"""Levels of each number of a code by finite scalar quantisation."""
CODEBOOK: Sizes[int] = Sizes({"xs": 16, "s": 1024, "m": 1024})
"""Entries of a learned codebook."""


# --- codes that are vectors -------------------------------------------------------------------------------------------

PriorOf = Callable[[int, Size, Reading | None], Prior]
"""Maps the length of a code, a size and the reading of the condition to a prior."""


def _flow(codes: int, size: Size, reading: Reading | None) -> Prior:
    return Couplings(codes, size.width, 1, size.depth, reading)


def _fitted(codes: int, size: Size, reading: Reading | None) -> Prior:
    # the shares of a mixture are counted for each label. Of other conditions there are too many
    few_conditions = reading is None or reading.labels > 0
    return CodeMixture(codes, reading=reading) if few_conditions else _flow(codes, size, reading)


def _mixture(codes: int, size: Size, reading: Reading | None) -> Prior:
    return Mixture(codes, 2 * size.width, reading)


def convolutional(space: Space, size: str) -> GenerativeModel:
    """A variational autoencoder: of images with a mixture that is fitted to codes as prior, of others with a flow."""
    # images have codes enough for covariances. Those of small tables would be learned by heart
    return coded(space, size, _fitted if isinstance(space, Images) else _flow)


def mixture(space: Space, size: str) -> GenerativeModel:
    """:func:`convolutional` with a mixture of Gaussians as prior."""
    return coded(space, size, _mixture)


@by_space(Images)
def coded(space: Images, size: str, prior: PriorOf) -> GenerativeModel:
    """A variational autoencoder whose code is a vector.

    Args:
        space: the space of the examples.
        size: a size of :func:`fourfold.build`.
        prior: the prior of the codes.
    """
    width, depth, codes = IMAGES[size].width, IMAGES[size].depth, IMAGE_CODES[size]
    head = LogisticHead(space.n_values)
    net = ResNetDecoder(codes, sides(space), head.values * space.channels, width, depth, reading_of(space))
    encoder = ResNetEncoder(sides(space), 2 * codes, width, depth, reading_of(space))
    decoder = CodeDecoder(net, head, space.shape, codes, prior(codes, IMAGE_PRIOR[size], reading_of(space)))
    return _of_images(space, decoder, encoder)


@coded.register
def _(space: Vectors, size: str, prior: PriorOf) -> GenerativeModel:
    width, depth = VECTORS[size].width, VECTORS[size].depth
    head, codes = GaussianHead(), min(max(2, space.dim), VECTOR_CODES[size])
    net = ResMLP(codes, head.values * space.dim, width, depth, reading_of(space))
    encoder = ResMLP(space.dim, 2 * codes, width, depth, reading_of(space))
    return GenerativeModel(
        space,
        Standardised(space),
        CodeDecoder(net, head, space.shape, codes, prior(codes, VECTOR_PRIOR[size], reading_of(space))),
        VariationalBound(encoder),
        PriorThenDecode(AsDraw()),
        Elbo(),
        Training(batch_size=256, learning_rate=2e-3, warmup=0.1, smoothing=0.5),
    )


@coded.register
def _(space: Table, size: str, prior: PriorOf) -> GenerativeModel:
    """Encoder and decoder see tokens. Those of a row are independent given the code."""
    (bins, codes), net_size = TABLE_CODES[size], TABLES[size]
    codec = ColumnTokens(space, bins_of(space, bins))
    head, logits = TokenHead(codec.sizes), sum(codec.sizes)
    net_size = replace(net_size, width=max(32, min(net_size.width, TABLE_WEIGHTS // logits // 8 * 8)))
    net = ResMLP(codes, logits, net_size.width, net_size.depth, reading_of(space))
    encoder = TableEncoder(codec.sizes, 2 * codes, 8, net_size.width, net_size.depth, codec.graded, reading_of(space))
    decoder = CodeDecoder(net, head, space.shape, codes, prior(codes, VECTOR_PRIOR[size], reading_of(space)))
    training = Training(batch_size=batch_of(256, logits), learning_rate=2e-3, warmup=0.05)
    parts = (decoder, VariationalBound(encoder), PriorThenDecode(AsDraw()), Elbo())
    return GenerativeModel(space, codec, *parts, training)


@by_space(Images, instead="latent-variable")
def ladder(space: Images, size: str) -> GenerativeModel:
    """A variational autoencoder of images with noise of its own at every stage of the decoder."""
    width, codes, rungs, channels = IMAGES[size].width, IMAGE_CODES[size], 1, 4
    head = LogisticHead(space.n_values)
    net = LadderDecoder(codes, sides(space), head.values * space.channels, width, rungs, channels, reading_of(space))
    decoder = RungDecoder(net, head, space.shape, codes, _flow(codes, IMAGE_PRIOR[size], reading_of(space)))
    return _of_images(space, decoder, LadderEncoder(sides(space), 2 * codes, width, rungs, channels, reading_of(space)))


def _of_images(space: Images, decoder: CodedDecoder, encoder: nn.Module) -> GenerativeModel:
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


# --- codes that are maps ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Autoencoder:
    """The networks of an autoencoder whose codes are maps.

    Attributes:
        codec: maps raw examples to those that the encoder sees.
        encoder: maps examples to the parameters of codes.
        decoder: maps codes to the head's values.
        head: maps values to an observation model.
        grid: height and width of a code.
        critic: makes the critic of patches.
        adversarial: weight of the critic and its features against the likelihood.
        start: number of steps before critic and features count.
    """

    codec: Codec
    encoder: nn.Module
    decoder: nn.Module
    head: Head
    grid: tuple[int, int]
    critic: Callable[[], nn.Module]
    adversarial: float = 0.3
    start: int = 300

    def model(self, space: Space, decoder: CodedDecoder, likelihood: Likelihood, beta: float = 1.0) -> GenerativeModel:
        """The model of these networks, trained by a bound and by the critic."""
        return GenerativeModel(
            space,
            self.codec,
            decoder,
            PerceptualBound(self.encoder, self.critic(), beta, adversarial=self.adversarial, start=self.start),
            PriorThenDecode(AsMedian()),
            likelihood,
            Training(batch_size=64, learning_rate=2e-3, muon_rate=2e-2, warmup=0.1),
        )


@by_space(Images, instead="latent-variable")
def autoencoder(space: Images, size: str, outputs: int, inputs: int, codes: int = 16) -> Autoencoder:
    """The networks for a space. A code of images represents 2 pixels along each side.

    It is 4 for images of 17 pixels or more, and 8 where ``codes`` are few.

    Args:
        space: the space of the examples.
        size: a size of :func:`fourfold.build`.
        outputs: number of channels of the encoder's output.
        inputs: number of channels of a code.
        codes: the most codes of 4 pixels along a side of an image. On a longer side each represents 8.
    """
    side, width, depth = max(space.height, space.width), MAPS[size].width, MAPS[size].depth
    factor = 2 if side <= 16 else 4 if side <= 4 * codes else 8
    head = LogisticHead(space.n_values)
    encoder = MapEncoder(sides(space), outputs, width, depth, factor)
    decoder = MapDecoder(inputs, sides(space), head.values * space.channels, width, depth, factor)
    critic = partial(PatchCritic, sides(space), CRITIC[size].width)
    return Autoencoder(Centred(space), encoder, decoder, head, code_size(space.shape, factor), critic)


def kl(space: Space, size: str) -> GenerativeModel:
    """An autoencoder whose codes are maps of Gaussians, by a bound and a critic. Diffusion can model its codes."""
    channels = CODE_CHANNELS[size]
    networks = autoencoder(space, size, 2 * channels, channels)
    codes = (channels, *networks.grid)
    prior = IndependentGaussians(codes, reading_of(space))
    decoder = CodeDecoder(networks.decoder, networks.head, networks.codec.event, codes, prior)
    return networks.model(space, decoder, Elbo(), beta=0.1)


def vq(space: Space, size: str) -> GenerativeModel:
    """An autoencoder whose codes are maps of whole numbers, by a learned codebook."""
    return quantised(space, size, Codebook(CODEBOOK[size], 8))


@singledispatch
def fsq(space: Space, size: str) -> GenerativeModel:
    """An autoencoder whose codes are maps of whole numbers, by finite scalar quantisation."""
    return quantised(space, size, FiniteScalars(LEVELS[size]))


def quantised(space: Space, size: str, quantiser: Quantiser) -> GenerativeModel:
    """At most 8 codes along a side of an image of up to 64 pixels: a transformer reads each of them."""
    networks = autoencoder(space, size, quantiser.channels, quantiser.channels, codes=8)
    prior = IndependentCodes(quantiser.grid(networks.grid), quantiser.size, reading_of(space))
    decoder = QuantisedDecoder(networks.decoder, networks.head, networks.codec.event, quantiser, prior)
    return networks.model(space, decoder, CodeBound())
