"""Presets of adversarial games: networks and codecs by space, sizes xs, s and m."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from fourfold.codecs import Centred, Standardised
from fourfold.core import (
    GenerativeModel,
    Space,
    Training,
)
from fourfold.likelihoods import NoDensity
from fourfold.nn.augment import Augment
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
    PathLength,
    Penalty,
    StyleGenerator,
    StyleTruncation,
    UnitNorm,
    Wasserstein,
    ZeroCentred,
)
from fourfold.spaces import Images, Vectors

__all__ = ["hinge", "non_saturating", "pairing", "stylegan2", "stylegan2_ada", "wasserstein"]


@dataclass(frozen=True)
class _Size:
    """Channels and residual blocks of generator and critic, and the length of the noise."""

    width: int
    blocks: int
    critic_width: int
    critic_blocks: int
    noise: int


_IMAGES: Mapping[str, _Size] = {
    "xs": _Size(32, 1, 32, 1, 32),
    "s": _Size(48, 1, 48, 1, 64),
    "m": _Size(64, 2, 64, 2, 64),
}
_VECTORS: Mapping[str, _Size] = {
    "xs": _Size(64, 2, 64, 2, 8),
    "s": _Size(128, 3, 128, 3, 16),
    "m": _Size(256, 4, 256, 4, 32),
}
_TRAINING = Training(batch_size=64, learning_rate=4e-4, warmup=0.05, betas=(0.0, 0.99), ema=0.1, clip=0.0)


@dataclass(frozen=True)
class _Rules:
    """What distinguishes the recipes: the contest, the penalty on images and on vectors, and the rate of the critic."""

    contest: Contest
    images: Penalty
    vectors: Penalty
    critic_rate: float = 1.0


def _game(rules: _Rules, space: Space, size: str) -> GenerativeModel:
    """Residual convolutions for images, residual perceptrons for vectors, and the rules of their game.

    Raises:
        TypeError: for a space that is neither images nor vectors.
    """
    if isinstance(space, Images):
        return _images(space, _IMAGES[size], rules)
    if isinstance(space, Vectors):
        return _vectors(space, _VECTORS[size], rules)
    raise TypeError(f"the adversarial model is of images or vectors, not of {type(space).__name__}")


def _critic(space: Images, size: _Size) -> ResNetCritic:
    return ResNetCritic(space.shape, size.critic_width, size.critic_blocks, 256, space.classes)  # type: ignore[arg-type]


def _images(space: Images, size: _Size, rules: _Rules) -> GenerativeModel:
    shape = (space.channels, space.height, space.width)
    net = ResNetDecoder(size.noise, shape, space.channels, size.width, size.blocks, space.classes)
    return GenerativeModel(
        space,
        Centred(space),
        Generator(net, space.shape, size.noise, bounded=True),
        AdversarialGame(_critic(space, size), rules.contest, rules.images, every=4, critic_rate=rules.critic_rate),
        OnePass(),
        NoDensity(NO_DENSITY),
        _TRAINING,
    )


def _vectors(space: Vectors, size: _Size, rules: _Rules) -> GenerativeModel:
    noise = max(2, min(2 * space.dim, size.noise))
    net = ResMLP(noise, space.dim, size.width, size.blocks, space.classes)
    critic = ResMLP(space.dim, 1, size.critic_width, size.critic_blocks, space.classes)
    return GenerativeModel(
        space,
        Standardised(space),
        Generator(net, space.shape, noise, bounded=False),
        AdversarialGame(critic, rules.contest, rules.vectors, critic_rate=rules.critic_rate),
        OnePass(),
        NoDensity(NO_DENSITY),
        replace(_TRAINING, batch_size=256, learning_rate=5e-4, warmup=0.02),
    )


def _style(space: Space, size: str, adaptive: bool) -> GenerativeModel:
    """The generator of StyleGAN2 against the residual critic: non-saturating game, R1, path lengths, mixed styles.

    Raises:
        TypeError: for a space that is not images.
    """
    if not isinstance(space, Images):
        raise TypeError(f"a StyleGAN2 is of images, not of {type(space).__name__}")
    preset = _IMAGES[size]
    shape = (space.channels, space.height, space.width)
    net = StyleNetwork(shape, preset.noise, 2 * preset.noise, 4, preset.width, space.classes)
    game = AdversarialGame(
        _critic(space, preset),
        NonSaturating(),
        ZeroCentred(0.2, samples=False),
        every=4,
        critic_rate=0.25,
        augment=Augment() if adaptive else None,
        regulariser=PathLength(),
    )
    training = replace(_TRAINING, learning_rate=1.6e-3)
    return GenerativeModel(
        space,
        Centred(space),
        StyleGenerator(net, space.shape),
        game,
        StyleTruncation(),
        NoDensity(NO_DENSITY),
        training,
    )


def pairing(space: Space, size: str) -> GenerativeModel:
    """Relativistic pairing with R1 and R2 (Huang, Gokaslan, Kuleshov, Tompkin 2024)."""
    return _game(_Rules(Pairing(), ZeroCentred(0.1), ZeroCentred(0.1)), space, size)


def non_saturating(space: Space, size: str) -> GenerativeModel:
    """The non-saturating game with R1 (Mescheder, Geiger, Nowozin 2018)."""
    r1 = ZeroCentred(0.2, samples=False)
    return _game(_Rules(NonSaturating(), r1, r1), space, size)


def hinge(space: Space, size: str) -> GenerativeModel:
    """The hinge game with R1 (Lim, Ye 2017)."""
    r1 = ZeroCentred(0.2, samples=False)
    return _game(_Rules(Hinge(), r1, r1), space, size)


def wasserstein(space: Space, size: str) -> GenerativeModel:
    """Wasserstein's distance with a penalty on the gradient's norm (Gulrajani et al. 2017)."""
    return _game(_Rules(Wasserstein(), UnitNorm(), UnitNorm(1.0), critic_rate=3.0), space, size)


def stylegan2(space: Space, size: str) -> GenerativeModel:
    """The generator of StyleGAN2 (Karras et al. 2020) against the residual critic."""
    return _style(space, size, adaptive=False)


def stylegan2_ada(space: Space, size: str) -> GenerativeModel:
    """As :func:`stylegan2`, with adaptive augmentation (Karras et al. 2020, https://arxiv.org/abs/2006.06676)."""
    return _style(space, size, adaptive=True)
