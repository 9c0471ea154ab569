"""Presets of latent diffusion: diffusion of the codes of a KL autoencoder.

Rombach, Blattmann, Lorenz, Esser, Ommer 2022 (https://arxiv.org/abs/2112.10752).
"""

from __future__ import annotations

from dataclasses import replace

from torch import nn

from fourfold.codecs import LearnedCodec
from fourfold.core import GenerativeModel, Space, Training
from fourfold.estimands.preconditioned import Preconditioned
from fourfold.likelihoods import ProbabilityFlow
from fourfold.maths.paths import EDM
from fourfold.nn.dit import DiT
from fourfold.nn.reading import reading_of
from fourfold.nn.unet import UNet
from fourfold.paradigms.diffusion import Denoising
from fourfold.paradigms.hybrid import behind
from fourfold.recipes.by_space import by_space
from fourfold.recipes.diffusion import denoising
from fourfold.recipes.latent import kl
from fourfold.recipes.latent_flow import vector_codes
from fourfold.recipes.sizes import Size, Sizes
from fourfold.samplers.ode import DPMSolver
from fourfold.spaces import Images, Table, Vectors
from fourfold.vocabulary import parse_size

__all__ = ["dit", "perceptron", "transformer", "unet"]

UNET: Sizes[tuple[Size, ...]] = Sizes(
    {
        "xs": (Size(32, 1), Size(32, 1)),
        "s": (Size(128, 2), Size(192, 3)),
        "m": (Size(192, 2), Size(256, 3), Size(320, 3)),
        "l": (Size(320, 2), Size(576, 3), Size(768, 4)),
        "xl": (Size(1024, 3), Size(1792, 3), Size(2304, 4)),
    }
)
TRANSFORMER: Sizes[Size] = Sizes(
    {
        "xs": Size(32, 1, 2),
        "s": Size(256, 8, 4),
        "m": Size(384, 12, 6),
        "l": Size(768, 10, 12),
        "xl": Size(1792, 18, 28),
    }
)
SOLVER_STEPS: Sizes[int] = Sizes({"xs": 6, "s": 24, "m": 24, "l": 24, "xl": 24})
"""Solver steps of the likelihood."""
MUON_RATE: Sizes[float] = Sizes({"xs": 0.02, "s": 0.03, "m": 0.02, "l": 0.02, "xl": 0.01})


@by_space(Images, instead="latent-flow for vectors")
def unet(space: Images, size: str) -> GenerativeModel:
    """A U-Net that denoises maps of codes."""
    codec = _codec(space, size)
    channels, height, width = codec.event
    deep = max(1, min(height, width).bit_length() - 2)
    widths = tuple(stage.width for stage in UNET[size][:deep])
    blocks = tuple(stage.depth for stage in UNET[size][:deep])
    net = UNet(channels, widths, blocks, 1, reading_of(space), 2 * UNET[size][0].width, 1)
    return _diffused(space, codec, net, size)


@by_space(Images, instead="latent-flow for vectors")
def dit(space: Images, size: str) -> GenerativeModel:
    """A transformer that denoises maps of codes."""
    return transformer(space, size)


def transformer(space: Space, size: str, patch: int | None = None) -> GenerativeModel:
    """A transformer that denoises codes in patches ``patch`` codes wide, by default of one code where there are few."""
    codec, net_size = _codec(space, size), TRANSFORMER[size]
    channels, height, width = codec.event
    patch = patch or (1 if max(height, width) <= 8 else 2)
    shape = (channels, height, width)
    net = DiT(shape, net_size.width, net_size.depth, net_size.heads, patch, reading_of(space), 1)
    return _diffused(space, codec, net, size)


@by_space(Table)
def perceptron(space: Table, size: str) -> GenerativeModel:
    """A perceptron that denoises codes that are vectors (Zhang et al. 2023, https://arxiv.org/abs/2310.09656)."""
    codec = vector_codes(space, size)
    return behind(codec, denoising(Vectors(codec.event[0], given=space.given), size), space)


def _codec(space: Space, size: str) -> LearnedCodec:
    """An autoencoder of examples without labels and captions, of size ``m`` at most."""
    autoencoder = kl(space.conditioned_on(None), "m" if parse_size(size)[0] in ("l", "xl") else size)
    # of equal seconds on 64-pixel images, twice the steps of half the batch gave reconstructions nearer to the data
    autoencoder.training_defaults = replace(autoencoder.training_defaults, batch_size=32)
    return LearnedCodec(autoencoder)


def _diffused(space: Space, codec: LearnedCodec, net: nn.Module, size: str) -> GenerativeModel:
    """Denoising of the codes."""
    estimand = Preconditioned(net, codec.event, EDM(), codec.rms)
    objective = Denoising(mean=-0.4, std=1.2, sigma_data=codec.rms)
    likelihood, training = ProbabilityFlow(SOLVER_STEPS[size], 2), Training(128, 2e-3, muon_rate=MUON_RATE[size])
    return GenerativeModel(space, codec, estimand, objective, DPMSolver(), likelihood, training)
