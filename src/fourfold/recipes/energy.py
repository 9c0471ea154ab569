"""Presets of energies: networks and codecs by space, sizes xs, s and m."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from torch import nn

from fourfold.codecs import BitPlanes, Dequantised, Standardised
from fourfold.core import (
    Codec,
    GenerativeModel,
    Sampler,
    Space,
    Training,
)
from fourfold.distributions.references import Bernoulli, FittedMixture, Normal
from fourfold.estimands import Reference
from fourfold.nn.boltzmann import BoltzmannMachine
from fourfold.nn.resnet import ResMLP, ResNetCritic, ResNetEncoder
from fourfold.nn.time_mlp import TimeMLP
from fourfold.nn.unet import UNet
from fourfold.paradigms.energy import (
    ClassifierEnergy,
    ContrastiveDivergence,
    JointEnergy,
    NoiseContrastive,
    NoisedScoreMatching,
    PreconditionedEnergy,
    RestrictedBoltzmann,
    Tilted,
    Unnormalised,
)
from fourfold.paths import EDM
from fourfold.samplers.gibbs import BlockGibbs
from fourfold.samplers.langevin import MALA, Annealed, Langevin, MarkovChain, NoiseAnnealed
from fourfold.spaces import Images, Vectors

__all__ = ["denoising", "jem", "noise_contrastive", "persistent", "rbm"]


@dataclass(frozen=True)
class _Size:
    """One size: networks, and how long chains are.

    Attributes:
        perceptron: width and blocks of the networks of vectors.
        critic: width and blocks of the convolutions that end in one number.
        widths, blocks: of the U-Net.
        hidden: hidden bits of a Boltzmann machine.
        temperatures: of annealing, or noise levels.
        steps: of the chain at the end.
        buffer: chains kept for each label.
    """

    perceptron: tuple[int, int]
    critic: tuple[int, int]
    widths: tuple[int, ...]
    blocks: tuple[int, ...]
    hidden: int
    temperatures: int
    steps: int
    buffer: int


_SIZES: Mapping[str, _Size] = {
    "xs": _Size((32, 1), (16, 1), (16, 16), (1, 1), 16, 6, 4, 64),
    "s": _Size((128, 3), (48, 1), (64, 96, 96), (1, 1, 1), 256, 60, 100, 2048),
    "m": _Size((256, 4), (64, 2), (96, 128, 128), (1, 2, 2), 1024, 100, 200, 4096),
}


def _refused(recipe: str, known: str, space: Space) -> TypeError:
    return TypeError(f"the recipe energy/{recipe} models {known}, not {type(space).__name__}")


def _known(recipe: str, space: Space) -> Images | Vectors:
    """Images or vectors, without captions."""
    if not isinstance(space, (Images, Vectors)) or space.caption is not None:
        raise _refused(recipe, "images or vectors without captions", space)
    return space


def _sides(space: Images) -> tuple[int, int, int]:
    return space.channels, space.height, space.width


def _annealed(size: _Size) -> Annealed:
    """Annealing from the reference with Metropolis-adjusted moves and jumps, then a chain."""
    return Annealed(MALA(size.steps, 0.05), size.temperatures, moves=1, jumps=1)


def _tilted(space: Vectors, size: _Size, reference: Reference) -> Tilted:
    return Tilted(ResMLP(space.dim, 1, *size.perceptron, space.classes, gain=0.1), space.shape, reference)


def noise_contrastive(space: Space, size: str) -> GenerativeModel:
    """Data told from draws of a mixture of Gaussians that is fitted to them; in images the two never overlap.

    Raises:
        TypeError: for a space other than vectors.
    """
    if not isinstance(space, Vectors):
        raise _refused("noise-contrastive", "vectors", space)
    preset = _SIZES[size]
    energy = _tilted(space, preset, FittedMixture(space.dim))
    training = Training(batch_size=1024, learning_rate=2e-3, ema=0.05, clip=1.0)
    objective = NoiseContrastive(space.shape, ratio=4)
    return GenerativeModel(space, Standardised(space), energy, objective, _annealed(preset), Unnormalised(), training)


def denoising(space: Space, size: str) -> GenerativeModel:
    """Score matching at every noise level; samples by annealing the noise.

    Raises:
        TypeError: for a space that is neither images nor vectors.
    """
    space, preset = _known("denoising", space), _SIZES[size]
    images = isinstance(space, Images)
    net = _unet(space, preset) if isinstance(space, Images) else TimeMLP(space.dims, *preset.perceptron, space.classes)
    sigma_data = 0.5 if images else 1.0
    energy = PreconditionedEnergy(net, space.shape, EDM(0.02, 40.0), sigma_data)
    objective = NoisedScoreMatching(space.shape, sigma_data=sigma_data)
    sampler = (
        NoiseAnnealed(Langevin(1, 0.1), preset.temperatures, moves=0, clean=True)
        if images
        else NoiseAnnealed(MALA(10, 0.2), preset.temperatures)
    )
    training = Training(64, 2e-3, muon_rate=0.02) if images else Training(512, 2e-3)
    return GenerativeModel(space, _codec(space), energy, objective, sampler, Unnormalised(), training)


def _codec(space: Images | Vectors) -> Codec:
    return Dequantised(space) if isinstance(space, Images) else Standardised(space)


def _unet(space: Images, size: _Size) -> UNet:
    """A U-Net whose patches and stages suit the size of the images."""
    side = max(space.height, space.width)
    patch = 1 if side < 16 else 2 if side <= 64 else 4
    stages = min(len(size.widths), max(2, math.ceil(math.log2(side / patch / 8)) + 1))
    return UNet(space.channels, size.widths[:stages], size.blocks[:stages], patch, space.classes, 2 * size.widths[0])


def persistent(space: Space, size: str) -> GenerativeModel:
    """Persistent contrastive divergence with a replay buffer.

    Raises:
        TypeError: for a space that is neither images nor vectors.
    """
    space, preset = _known("persistent", space), _SIZES[size]
    if isinstance(space, Images):
        return _persistent_images(space, preset)
    energy = _tilted(space, preset, Normal(space.shape, 1.5))
    objective = ContrastiveDivergence(space.shape, MALA(10, 0.02), preset.buffer, space.classes, 0.02, 1e-3, 0.02)
    training = Training(batch_size=256, learning_rate=1e-3, betas=(0.0, 0.99))
    return GenerativeModel(space, Standardised(space), energy, objective, _annealed(preset), Unnormalised(), training)


_SHORT = Langevin(10, 0.01, temperature=0.05)
"""The chains of training on images: colder than the energy, hence fast, and biased."""


def _persistent_images(space: Images, size: _Size) -> GenerativeModel:
    net = ResNetCritic(_sides(space), *size.critic, 128, space.classes)
    energy = Tilted(net, space.shape, Normal(space.shape, 1.0))
    objective = ContrastiveDivergence(space.shape, _SHORT, size.buffer, space.classes, 0.05, 1e-3, 0.03)
    sampler = Langevin(10 * size.steps, _SHORT.step_size, temperature=_SHORT.temperature)
    training = Training(batch_size=64, learning_rate=3e-4, betas=(0.0, 0.99), clip=1.0)
    return GenerativeModel(space, Dequantised(space), energy, objective, sampler, Unnormalised(), training)


def jem(space: Space, size: str) -> GenerativeModel:
    """A classifier whose logits are an energy.

    Raises:
        TypeError: for a space without class labels, or neither images nor vectors.
    """
    space, preset, images = _known("jem", space), _SIZES[size], isinstance(space, Images)
    if space.classes is None:
        raise TypeError("the recipe energy/jem reads a classifier as an energy: it needs a space with classes")
    net: nn.Module = (
        ResNetEncoder(_sides(space), space.classes, *preset.critic)
        if isinstance(space, Images)
        else ResMLP(space.dim, space.classes, *preset.perceptron)
    )
    energy = ClassifierEnergy(net, space.shape, Normal(space.shape, 1.0 if images else 1.5))
    chain: MarkovChain = _SHORT if images else MALA(10, 0.02)
    divergence = ContrastiveDivergence(space.shape, chain, preset.buffer, None, 0.05, 1e-3, 0.03)
    sampler: Sampler = Langevin(10 * preset.steps, 0.01, temperature=0.05) if images else _annealed(preset)
    training = Training(batch_size=64 if images else 256, learning_rate=3e-4 if images else 1e-3)
    return GenerativeModel(space, _codec(space), energy, JointEnergy(divergence), sampler, Unnormalised(), training)


def rbm(space: Space, size: str) -> GenerativeModel:
    """A restricted Boltzmann machine of the bits of pixels, by persistent contrastive divergence with block Gibbs sampling.

    Raises:
        TypeError: for a space other than images.
    """
    space, preset = _known("rbm", space), _SIZES[size]
    if not isinstance(space, Images):
        raise _refused("rbm", "images", space)
    codec = BitPlanes(space)
    event = (codec.planes * space.channels, space.height, space.width)
    net = BoltzmannMachine(math.prod(event), preset.hidden, space.classes)
    energy = RestrictedBoltzmann(net, event, Bernoulli(event))
    objective = ContrastiveDivergence(event, BlockGibbs(2), preset.buffer, space.classes, 0.01)
    sampler = BlockGibbs(10 * preset.steps)
    training = Training(batch_size=128, learning_rate=2e-3)
    return GenerativeModel(space, codec, energy, objective, sampler, Unnormalised(), training)
