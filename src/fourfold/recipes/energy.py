"""Presets of energies: networks, codecs and chains by space, in sizes xs, s and m."""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import nn

from fourfold.codecs import BitPlanes, Dequantised, GaussianColumns, Standardised
from fourfold.core import Codec, GenerativeModel, Sampler, Space, Training
from fourfold.distributions.references import Bernoulli, FittedMixture, Normal
from fourfold.estimands import Reference
from fourfold.maths.paths import EDM
from fourfold.nn.boltzmann import BoltzmannMachine
from fourfold.nn.reading import reading_of
from fourfold.nn.resnet import ResMLP, ResNetCritic, ResNetEncoder
from fourfold.nn.time_mlp import TimeMLP
from fourfold.paradigms.denoising_energy import NoisedScoreMatching, PreconditionedEnergy
from fourfold.paradigms.energy import (
    ClassifierEnergy,
    ContrastiveDivergence,
    JointEnergy,
    NoiseContrastive,
    RestrictedBoltzmann,
    Tilted,
    Unnormalised,
)
from fourfold.paradigms.hybrid import behind
from fourfold.recipes.by_space import by_space
from fourfold.recipes.networks import bins_of, check_width, sides, unet
from fourfold.recipes.sizes import Size, Sizes
from fourfold.samplers.gibbs import BlockGibbs
from fourfold.samplers.langevin import MALA, Annealed, Langevin, NoiseAnnealed
from fourfold.spaces import Images, Table, Vectors

__all__ = [
    "DenoisingParts",
    "denoised",
    "denoising",
    "jem",
    "noise_contrastive",
    "persistent",
    "rbm",
]

PERCEPTRON: Sizes[Size] = Sizes({"xs": Size(32, 1), "s": Size(128, 3), "m": Size(256, 4)})
CRITIC: Sizes[Size] = Sizes({"xs": Size(16, 1), "s": Size(48, 1), "m": Size(64, 2)})
"""The size of convolutions with one output, or with one for each class."""
UNET: Sizes[tuple[Size, ...]] = Sizes(
    {
        "xs": (Size(16, 1), Size(16, 1)),
        "s": (Size(64, 1), Size(96, 1), Size(96, 1)),
        "m": (Size(96, 1), Size(128, 2), Size(128, 2)),
    }
)
HIDDEN: Sizes[Size] = Sizes({"xs": Size(16), "s": Size(256), "m": Size(1024)})
"""Hidden bits of a Boltzmann machine."""
TEMPERATURES: Sizes[int] = Sizes({"xs": 6, "s": 60, "m": 100})
"""Temperatures of annealing, or noise levels."""
STEPS: Sizes[int] = Sizes({"xs": 4, "s": 100, "m": 200})
"""Moves of the chain at the end of annealing."""
BUFFER: Sizes[int] = Sizes({"xs": 512, "s": 2048, "m": 4096})
"""Chains that are kept."""
SHORT = Langevin(10, 0.01, temperature=0.05)
"""The chains of training on images: colder than the energy, hence fast, and biased."""
TABLES = "energy/noise-contrastive for tables"
"""The way out for other spaces."""


def _annealed(size: str) -> Annealed:
    """Annealing from the reference with Metropolis-adjusted moves and jumps, then a chain."""
    return Annealed(MALA(STEPS[size], 0.05), TEMPERATURES[size], moves=1, jumps=1)


def _tilted(space: Vectors, size: str, reference: Reference) -> Tilted:
    width, depth = PERCEPTRON[size].width, PERCEPTRON[size].depth
    return Tilted(ResMLP(space.dim, 1, width, depth, reading_of(space), gain=0.1), space.shape, reference)


# --- noise-contrastive estimation -------------------------------------------------------------------------------------


@by_space(Vectors)
def noise_contrastive(space: Vectors, size: str) -> GenerativeModel:
    """A contrast of data with draws of a fitted mixture of Gaussians. For images the two would never overlap."""
    energy = _tilted(space, size, FittedMixture(space.dim))
    training = Training(batch_size=1024, learning_rate=2e-3, ema=0.05, clip=1.0)
    objective = NoiseContrastive(space.shape, ratio=4)
    return GenerativeModel(space, Standardised(space), energy, objective, _annealed(size), Unnormalised(), training)


@noise_contrastive.register
def _(space: Table, size: str) -> GenerativeModel:
    """The model of vectors, on columns that the codec makes normal."""
    check_width(space, "covariances")
    base = noise_contrastive(Vectors(space.dims, given=space.given), size)
    return behind(GaussianColumns(space, bins_of(space, 512)), base, space)


# --- score matching ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class DenoisingParts:
    """The parts that score matching at every noise level takes for a space.

    Attributes:
        net: ``F(x, tau, cond)`` of encoded examples.
        codec: maps raw examples to reals.
        sampler: removes the noise.
        training: rates and batch size.
    """

    net: nn.Module
    codec: Codec
    sampler: Sampler
    training: Training


@by_space(Images, instead=TABLES)
def denoised(space: Images, size: str) -> DenoisingParts:
    """Network, codec, sampler and training of a space."""
    sampler = NoiseAnnealed(Langevin(1, 0.1), TEMPERATURES[size], moves=0, clean=True)
    return DenoisingParts(unet(space, UNET[size]), Dequantised(space), sampler, Training(64, 2e-3, muon_rate=0.02))


@denoised.register
def _(space: Vectors, size: str) -> DenoisingParts:
    net = TimeMLP(space.dim, PERCEPTRON[size].width, PERCEPTRON[size].depth, reading_of(space))
    sampler = NoiseAnnealed(MALA(10, 0.2), TEMPERATURES[size])
    return DenoisingParts(net, Standardised(space), sampler, Training(512, 2e-3))


def denoising(space: Space, size: str) -> GenerativeModel:
    """Score matching at every noise level. Samples by annealing the noise."""
    base = denoised(space, size)
    event, rms = base.codec.event, base.codec.rms
    energy = PreconditionedEnergy(base.net, event, EDM(0.02, 40.0), rms)
    objective = NoisedScoreMatching(event, sigma_data=rms)
    return GenerativeModel(space, base.codec, energy, objective, base.sampler, Unnormalised(), base.training)


# --- contrastive divergence -------------------------------------------------------------------------------------------


@by_space(Vectors, instead=TABLES)
def persistent(space: Vectors, size: str) -> GenerativeModel:
    """Persistent contrastive divergence with a replay buffer."""
    energy = _tilted(space, size, Normal(space.shape, 1.5))
    objective = ContrastiveDivergence(
        space.shape,
        MALA(10, 0.02),
        size=BUFFER[size],
        given=space.given,
        restart=0.02,
        magnitude=1e-3,
        data_noise=0.02,
    )
    training = Training(batch_size=256, learning_rate=1e-3, betas=(0.0, 0.99))
    return GenerativeModel(space, Standardised(space), energy, objective, _annealed(size), Unnormalised(), training)


@persistent.register
def _(space: Images, size: str) -> GenerativeModel:
    net = ResNetCritic(sides(space), CRITIC[size].width, CRITIC[size].depth, 128, reading_of(space))
    energy = Tilted(net, space.shape, Normal(space.shape, 1.0))
    objective = ContrastiveDivergence(
        space.shape, SHORT, size=BUFFER[size], given=space.given, restart=0.05, magnitude=1e-3, data_noise=0.03
    )
    sampler = Langevin(10 * STEPS[size], SHORT.step_size, temperature=SHORT.temperature)
    training = Training(batch_size=64, learning_rate=3e-4, betas=(0.0, 0.99), clip=1.0)
    return GenerativeModel(space, Dequantised(space), energy, objective, sampler, Unnormalised(), training)


@by_space(Images, instead=TABLES)
def jem(space: Images, size: str) -> GenerativeModel:
    """A classifier whose logits are an energy (Grathwohl et al. 2020).

    Raises:
        TypeError: for a space without class labels.
    """
    net = ResNetEncoder(sides(space), _classes(space), CRITIC[size].width, CRITIC[size].depth)
    energy = ClassifierEnergy(net, space.shape, Normal(space.shape, 1.0))
    divergence = ContrastiveDivergence(
        space.shape, SHORT, size=BUFFER[size], restart=0.05, magnitude=1e-3, data_noise=0.03
    )
    sampler = Langevin(10 * STEPS[size], SHORT.step_size, temperature=SHORT.temperature)
    training = Training(batch_size=64, learning_rate=3e-4)
    objective = JointEnergy(divergence)
    return GenerativeModel(space, Dequantised(space), energy, objective, sampler, Unnormalised(), training)


@jem.register
def _(space: Vectors, size: str) -> GenerativeModel:
    net = ResMLP(space.dim, _classes(space), PERCEPTRON[size].width, PERCEPTRON[size].depth)
    energy = ClassifierEnergy(net, space.shape, Normal(space.shape, 1.5))
    divergence = ContrastiveDivergence(
        space.shape, MALA(10, 0.02), size=BUFFER[size], restart=0.05, magnitude=1e-3, data_noise=0.03
    )
    training = Training(batch_size=256, learning_rate=1e-3)
    objective = JointEnergy(divergence)
    return GenerativeModel(space, Standardised(space), energy, objective, _annealed(size), Unnormalised(), training)


def _classes(space: Images | Vectors) -> int:
    if space.given is None or not space.given.names:
        raise TypeError(
            "space must have classes, since energy/jem reads a classifier as an energy, got none; condition it on "
            "labels, as --given labels does"
        )
    return len(space.given.names)


@by_space(Images, instead=TABLES)
def rbm(space: Images, size: str) -> GenerativeModel:
    """A restricted Boltzmann machine of the bits of pixels, trained and sampled by block Gibbs chains."""
    codec = BitPlanes(space)
    net = BoltzmannMachine(math.prod(codec.event), HIDDEN[size].width, reading_of(space))
    energy = RestrictedBoltzmann(net, codec.event, Bernoulli(codec.event))
    objective = ContrastiveDivergence(codec.event, BlockGibbs(2), size=BUFFER[size], given=space.given, restart=0.01)
    sampler, training = BlockGibbs(10 * STEPS[size]), Training(batch_size=128, learning_rate=2e-3)
    return GenerativeModel(space, codec, energy, objective, sampler, Unnormalised(), training)
