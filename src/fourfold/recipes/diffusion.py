"""Presets of diffusion: networks and codecs by space, sizes xs, s and m."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

from torch import nn

from fourfold.codecs import Dequantised, Standardised
from fourfold.core import (
    Codec,
    GenerativeModel,
    Sampler,
    Space,
    Training,
)
from fourfold.likelihoods.ode import ProbabilityFlow
from fourfold.nn.dit import DiT
from fourfold.nn.text_encoder import text_encoder
from fourfold.nn.time_mlp import TimeMLP
from fourfold.nn.unet import UNet
from fourfold.paradigms.diffusion import (
    CoupledFlowMatching,
    Denoising,
    DenoisingScoreMatching,
    FlowMatching,
    NetworkField,
    NetworkNoise,
    NetworkScore,
    NetworkVelocity,
    NoisePrediction,
    Preconditioned,
    SlicedScoreMatching,
)
from fourfold.paths import EDM, VE, VP, RectifiedFlow, SubVP
from fourfold.samplers.ode import DPMSolver, Heun, UniPC
from fourfold.spaces import Images, Vectors

__all__ = [
    "SIZES",
    "Size",
    "denoising",
    "dit",
    "network_of",
    "optimal_transport",
    "sliced",
    "subvp",
    "training_of",
    "ve",
    "velocity",
    "vp",
]


@dataclass(frozen=True)
class Size:
    """One size: U-Net, transformer and perceptron, solver steps of the likelihood, and training."""

    widths: tuple[int, ...]
    blocks: tuple[int, ...]
    transformer: tuple[int, int, int]
    perceptron: tuple[int, int]
    solver_steps: int
    training: Training


SIZES: Mapping[str, Size] = {
    "xs": Size((32, 64), (1, 1), (64, 2, 2), (64, 2), 12, Training(128, 2e-3, muon_rate=0.02)),
    "s": Size((128, 128, 128), (1, 2, 2), (192, 6, 3), (256, 3), 24, Training(128, 2e-3, muon_rate=0.03)),
    "m": Size((192, 256, 256), (2, 3, 3), (384, 10, 6), (384, 5), 24, Training(128, 2e-3, muon_rate=0.02)),
}


def _unet(space: Images, size: Size, times: int = 1) -> UNet:
    """A U-Net whose patches and stages suit the size of the images: the coarsest has about 8 pixels a side."""
    side = max(space.height, space.width)
    patch = 1 if side < 16 else 2 if side <= 64 else 4
    stages = min(len(size.widths), max(2, math.ceil(math.log2(side / patch / 8)) + 1))
    widths, condition = size.widths[:stages], 2 * size.widths[0]
    text = text_encoder(space.caption)
    return UNet(space.channels, widths, size.blocks[:stages], patch, space.classes, condition, times, text)


def _dit(space: Images, size: Size, times: int = 1) -> DiT:
    """A transformer whose number of patches suits the size of the images."""
    side = max(space.height, space.width)
    patch = 2 if side < 16 else 4 if side <= 64 else 8
    text = text_encoder(space.caption)
    return DiT(space.shape, *size.transformer, patch, space.classes, times, text)  # type: ignore[arg-type]


def network_of(space: Space, size: Size, transformer: bool = False, times: int = 1) -> tuple[nn.Module, Codec]:
    """The network, of one or two times, and the codec of a space.

    Raises:
        TypeError: for a space that is neither images nor vectors.
    """
    if isinstance(space, Images):
        return (_dit(space, size, times) if transformer else _unet(space, size, times)), Dequantised(space)
    if isinstance(space, Vectors) and not transformer:
        return TimeMLP(space.dim, *size.perceptron, space.classes, times), Standardised(space)
    known = "images" if transformer else "images and vectors"
    raise TypeError(f"this diffusion recipe models {known}, not {type(space).__name__}")


def training_of(space: Space, size: Size) -> Training:
    """Vectors are cheap: larger batches of them, and AdamW alone."""
    vectors = replace(size.training, batch_size=512, muon_rate=None)
    return vectors if isinstance(space, Vectors) else size.training


def _likelihood(space: Space, size: Size) -> ProbabilityFlow:
    """The exact trace where it costs no more than probes; few probes where a codec that draws has them drawn anew."""
    probes = 4 if isinstance(space, Vectors) else 2
    return ProbabilityFlow(size.solver_steps, None if space.dims <= 8 else probes)


def denoising(space: Space, size: str, transformer: bool = False) -> GenerativeModel:
    """EDM preconditioning, by a U-Net, a transformer or a perceptron."""
    preset = SIZES[size]
    net, codec = network_of(space, preset, transformer)
    sigma_data = 1.0 if isinstance(space, Vectors) else 0.5
    objective = Denoising(sigma_data=sigma_data)
    estimand = Preconditioned(net, space.shape, EDM(), sigma_data)
    likelihood = _likelihood(space, preset)
    return GenerativeModel(space, codec, estimand, objective, DPMSolver(), likelihood, training_of(space, preset))


def dit(space: Space, size: str) -> GenerativeModel:
    """EDM preconditioning of a transformer of patches."""
    return denoising(space, size, transformer=True)


def velocity(space: Space, size: str) -> GenerativeModel:
    """Rectified flow."""
    preset = SIZES[size]
    net, codec = network_of(space, preset, False)
    estimand = NetworkVelocity(net, space.shape, RectifiedFlow(), 1.0 if isinstance(space, Vectors) else 0.5)
    sampler: Sampler = Heun(10)
    likelihood = _likelihood(space, preset)
    return GenerativeModel(space, codec, estimand, FlowMatching(), sampler, likelihood, training_of(space, preset))


def optimal_transport(space: Space, size: str) -> GenerativeModel:
    """Flow matching on straight lines to the noise that optimal transport assigns."""
    preset = SIZES[size]
    net, codec = network_of(space, preset)
    estimand = NetworkField(net, space.shape, RectifiedFlow(), _scale(space))
    objective, likelihood = CoupledFlowMatching(), _likelihood(space, preset)
    return GenerativeModel(space, codec, estimand, objective, Heun(4), likelihood, training_of(space, preset))


def _scale(space: Space) -> float:
    """Root mean square of encoded data."""
    return 1.0 if isinstance(space, Vectors) else 0.5


def vp(space: Space, size: str) -> GenerativeModel:
    """Noise prediction on the variance-preserving path."""
    preset = SIZES[size]
    net, codec = network_of(space, preset)
    estimand = NetworkNoise(net, space.shape, VP(), _scale(space))
    likelihood = _likelihood(space, preset)
    return GenerativeModel(space, codec, estimand, NoisePrediction(), UniPC(), likelihood, training_of(space, preset))


def ve(space: Space, size: str) -> GenerativeModel:
    """Denoising score matching on the variance-exploding path."""
    preset = SIZES[size]
    net, codec = network_of(space, preset)
    estimand = NetworkScore(net, space.shape, VE(), _scale(space))
    objective, likelihood = DenoisingScoreMatching(), _likelihood(space, preset)
    return GenerativeModel(space, codec, estimand, objective, DPMSolver(), likelihood, training_of(space, preset))


def subvp(space: Space, size: str) -> GenerativeModel:
    """A preconditioned denoiser on the sub-variance-preserving path."""
    preset = SIZES[size]
    net, codec = network_of(space, preset)
    estimand = Preconditioned(net, space.shape, SubVP(), _scale(space))
    objective, likelihood = Denoising(sigma_data=_scale(space)), _likelihood(space, preset)
    return GenerativeModel(space, codec, estimand, objective, DPMSolver(), likelihood, training_of(space, preset))


def sliced(space: Space, size: str) -> GenerativeModel:
    """Sliced score matching, for vectors: its second derivatives are costly in large networks.

    The network sees no waves of its input: the loss is linear in their derivatives, whose noise would drown the rest.

    Raises:
        TypeError: for a space that is not vectors.
    """
    if not isinstance(space, Vectors):
        raise TypeError(f"this diffusion recipe models vectors, not {type(space).__name__}")
    preset = SIZES[size]
    net, codec = TimeMLP(space.dim, *preset.perceptron, space.classes, detail=False), Standardised(space)
    estimand, objective = NetworkScore(net, space.shape, VP(), 1.0), SlicedScoreMatching()
    likelihood = _likelihood(space, preset)
    return GenerativeModel(space, codec, estimand, objective, DPMSolver(), likelihood, training_of(space, preset))
