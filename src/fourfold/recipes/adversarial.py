"""Presets of GANs: networks and codecs by space, in sizes xs, s and m."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import singledispatch

from torch import nn

from fourfold.codecs import Centred, GaussianColumns, MixedColumns, Standardised
from fourfold.core import Codec, GenerativeModel, Space, Training
from fourfold.likelihoods import NoDensity
from fourfold.nn.augment import Augment
from fourfold.nn.reading import reading_of
from fourfold.nn.resnet import ResMLP, ResNetCritic, ResNetDecoder
from fourfold.nn.stylegan import StyleNetwork
from fourfold.paradigms.adversarial import (
    NO_DENSITY,
    AdversarialGame,
    Contest,
    Generator,
    Hinge,
    NonSaturating,
    OnePass,
    Pairing,
    Penalty,
    UnitNorm,
    Wasserstein,
    ZeroCentred,
)
from fourfold.paradigms.conditional_gan import ConditionalGAN, RowGenerator
from fourfold.paradigms.stylegan import PathLength, StyleGenerator, StyleTruncation
from fourfold.recipes.by_space import by_space
from fourfold.recipes.networks import batch_of, bins_of, sides
from fourfold.recipes.sizes import Size, Sizes
from fourfold.spaces import Images, Table, Vectors

__all__ = [
    "Players",
    "conditional",
    "default",
    "hinge",
    "non_saturating",
    "pairing",
    "players",
    "style",
    "stylegan2",
    "stylegan2_ada",
    "wasserstein",
]

IMAGES: Sizes[Size] = Sizes({"xs": Size(32, 1), "s": Size(48, 1), "m": Size(64, 2)})
"""The size of generator and critic."""
VECTORS: Sizes[Size] = Sizes({"xs": Size(64, 2), "s": Size(128, 3), "m": Size(256, 4)})
IMAGE_NOISE: Sizes[int] = Sizes({"xs": 32, "s": 64, "m": 64})
VECTOR_NOISE: Sizes[int] = Sizes({"xs": 8, "s": 16, "m": 32})
TRAINING = Training(batch_size=64, learning_rate=4e-4, warmup=0.05, betas=(0.0, 0.99), ema=0.1, clip=0.0)


@dataclass(frozen=True)
class Players:
    """Generator and critic for a space, and the settings of their training.

    Attributes:
        codec: maps raw examples to the codes that both networks see.
        generator: maps noise to encoded examples.
        critic: maps encoded examples to one number each.
        training: rates and batch size.
        every: the critic's penalty is taken at every ``every``-th example.
        unit_norm: weight of Wasserstein's penalty.
        pace: multiplies the generator's rate under the Wasserstein loss, where that of the critic is tripled.
    """

    codec: Codec
    generator: Generator
    critic: nn.Module
    training: Training
    every: int = 1
    unit_norm: float = 10.0
    pace: float = 1.0


@by_space(Images)
def players(space: Images, size: str) -> Players:
    """Generator and critic of a space."""
    noise, width, depth = IMAGE_NOISE[size], IMAGES[size].width, IMAGES[size].depth
    net = ResNetDecoder(noise, sides(space), space.channels, width, depth, reading_of(space))
    generator = Generator(net, space.shape, noise, bounded=True)
    return Players(Centred(space), generator, _critic(space, size), TRAINING, every=4, pace=3.0)


@players.register
def _(space: Vectors, size: str) -> Players:
    noise, width, depth = max(2, min(2 * space.dim, VECTOR_NOISE[size])), VECTORS[size].width, VECTORS[size].depth
    net = ResMLP(noise, space.dim, width, depth, reading_of(space))
    critic = ResMLP(space.dim, 1, width, depth, reading_of(space))
    training = replace(TRAINING, batch_size=256, learning_rate=5e-4, warmup=0.02)
    generator = Generator(net, space.shape, noise, bounded=False)
    return Players(Standardised(space), generator, critic, training, unit_norm=1.0)


@players.register
def _(space: Table, size: str) -> Players:
    """The networks of vectors, on columns that the codec makes normal."""
    return replace(
        players(Vectors(space.dims, given=space.given), size), codec=GaussianColumns(space, bins_of(space, 512))
    )


def _critic(space: Images, size: str) -> ResNetCritic:
    return ResNetCritic(sides(space), IMAGES[size].width, IMAGES[size].depth, 256, reading_of(space))


@singledispatch
def default(space: Space) -> str:
    """The recipe that ``adversarial`` means: pairing, and Wasserstein's for images, the better one in equal time."""
    return "pairing"


@default.register
def _(space: Images) -> str:
    return "wasserstein"


def pairing(space: Space, size: str) -> GenerativeModel:
    """Relativistic pairing with R1 and R2 (Huang, Gokaslan, Kuleshov, Tompkin 2024)."""
    return _played(space, players(space, size), Pairing(), ZeroCentred(0.1))


def non_saturating(space: Space, size: str) -> GenerativeModel:
    """The non-saturating loss with R1 (Mescheder, Geiger, Nowozin 2018)."""
    return _played(space, players(space, size), NonSaturating(), ZeroCentred(0.2, samples=False))


def hinge(space: Space, size: str) -> GenerativeModel:
    """The hinge loss with R1 (Lim, Ye 2017)."""
    return _played(space, players(space, size), Hinge(), ZeroCentred(0.2, samples=False))


def wasserstein(space: Space, size: str) -> GenerativeModel:
    """Wasserstein's distance with a penalty on the gradient's norm (Gulrajani et al. 2017)."""
    networks = players(space, size)
    training = replace(networks.training, learning_rate=networks.pace * networks.training.learning_rate)
    contest, penalty = Wasserstein(), UnitNorm(networks.unit_norm)
    return _played(space, replace(networks, training=training), contest, penalty, critic_rate=3 / networks.pace)


def _played(
    space: Space, networks: Players, contest: Contest, penalty: Penalty, critic_rate: float = 1.0
) -> GenerativeModel:
    """A GAN of two networks with a loss and a penalty."""
    game = AdversarialGame(networks.critic, contest, penalty, networks.every, critic_rate=critic_rate)
    return GenerativeModel(
        space, networks.codec, networks.generator, game, OnePass(), NoDensity(NO_DENSITY), networks.training
    )


@by_space(Table, instead="adversarial")
def conditional(space: Table, size: str) -> GenerativeModel:
    """The GAN of rows with conditional vectors (Xu et al. 2019)."""
    codec, net_size, noise = MixedColumns(space, bins_of(space, 512)), VECTORS[size], VECTOR_NOISE[size]
    tokens, reals = sum(codec.sizes), len(codec.graded)
    net = ResMLP(noise + tokens, tokens + reals, net_size.width, net_size.depth, reading_of(space))
    critic = ResMLP(2 * tokens + reals, 1, net_size.width, net_size.depth, reading_of(space))
    generator = RowGenerator(net, codec.sizes, reals, noise)
    game = ConditionalGAN(AdversarialGame(critic, Pairing(), ZeroCentred(0.1)))
    training = replace(TRAINING, batch_size=batch_of(256, tokens), learning_rate=5e-4, warmup=0.02)
    return GenerativeModel(space, codec, generator, game, OnePass(), NoDensity(NO_DENSITY), training)


def stylegan2(space: Space, size: str) -> GenerativeModel:
    """StyleGAN2 (Karras et al. 2020, https://arxiv.org/abs/1912.04958): mixed styles, path lengths, R1."""
    return style(space, size, None)


def stylegan2_ada(space: Space, size: str) -> GenerativeModel:
    """:func:`stylegan2` with adaptive augmentation (Karras et al. 2020, https://arxiv.org/abs/2006.06676)."""
    return style(space, size, Augment())


@by_space(Images)
def style(space: Images, size: str, augment: Augment | None) -> GenerativeModel:
    """The generator of StyleGAN2 against the residual critic.

    Args:
        space: the space of the examples.
        size: a size of :func:`fourfold.build`.
        augment: transforms examples before the critic sees them.
    """
    noise = IMAGE_NOISE[size]
    net = StyleNetwork(sides(space), noise, 2 * noise, 4, IMAGES[size].width, reading_of(space))
    game = AdversarialGame(
        _critic(space, size),
        NonSaturating(),
        ZeroCentred(0.2, samples=False),
        every=4,
        critic_rate=0.25,
        augment=augment,
        regulariser=PathLength(),
    )
    return GenerativeModel(
        space,
        Centred(space),
        StyleGenerator(net, space.shape),
        game,
        StyleTruncation(),
        NoDensity(NO_DENSITY),
        replace(TRAINING, learning_rate=1.6e-3),
    )
