"""Presets of latent diffusion: diffusion of the codes of a KL autoencoder.

Rombach, Blattmann, Lorenz, Esser, Ommer 2022 (https://arxiv.org/abs/2112.10752).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from torch import nn

from fourfold.codecs import LearnedCodec
from fourfold.core import GenerativeModel, Space, Training
from fourfold.likelihoods.ode import ProbabilityFlow
from fourfold.nn.dit import DiT
from fourfold.nn.text_encoder import text_encoder
from fourfold.nn.unet import UNet
from fourfold.paradigms.diffusion import Denoising, Preconditioned
from fourfold.paths import EDM
from fourfold.recipes.codes import only_images, unconditional
from fourfold.recipes.latent import kl
from fourfold.samplers.ode import DPMSolver
from fourfold.spaces import Images

__all__ = ["dit", "unet"]


@dataclass(frozen=True)
class _Diffusion:
    """Networks of the codes: U-Net and transformer, solver steps of the likelihood, training."""

    widths: tuple[int, ...]
    blocks: tuple[int, ...]
    transformer: tuple[int, int, int]
    solver_steps: int
    training: Training


_DIFFUSION: Mapping[str, _Diffusion] = {
    "xs": _Diffusion((32, 32), (1, 1), (32, 1, 2), 6, Training(128, 2e-3, muon_rate=0.02)),
    "s": _Diffusion((128, 192), (2, 3), (256, 8, 4), 24, Training(128, 2e-3, muon_rate=0.03)),
    "m": _Diffusion((192, 256, 320), (2, 3, 3), (384, 12, 6), 24, Training(128, 2e-3, muon_rate=0.02)),
}


def unet(space: Space, size: str) -> GenerativeModel:
    """A U-Net that denoises maps of codes.

    Raises:
        TypeError: for a space other than images.
    """
    images, preset = only_images(space, "latent diffusion"), _DIFFUSION[size]
    codec = _codec(images, size)
    channels, height, width = codec.event
    deep = min(len(preset.widths), max(1, min(height, width).bit_length() - 2))
    widths, blocks, text = preset.widths[:deep], preset.blocks[:deep], text_encoder(images.caption)
    net = UNet(channels, widths, blocks, 1, images.classes, 2 * preset.widths[0], 1, text)
    return _diffused(images, codec, net, preset)


def dit(space: Space, size: str) -> GenerativeModel:
    """A transformer that denoises maps of codes.

    Raises:
        TypeError: for a space other than images.
    """
    images, preset = only_images(space, "latent diffusion"), _DIFFUSION[size]
    codec = _codec(images, size)
    channels, height, width = codec.event
    patch, text = 1 if max(height, width) <= 8 else 2, text_encoder(images.caption)
    net = DiT((channels, height, width), *preset.transformer, patch, images.classes, 1, text)
    return _diffused(images, codec, net, preset)


def _codec(images: Images, size: str) -> LearnedCodec:
    """An autoencoder of images without labels and captions."""
    autoencoder = kl(unconditional(images), size)
    # of equal seconds on 64-pixel images, twice the steps of half the batch gave reconstructions nearer to the data
    autoencoder.training_defaults = replace(autoencoder.training_defaults, batch_size=32)
    return LearnedCodec(autoencoder)


def _diffused(images: Images, codec: LearnedCodec, net: nn.Module, preset: _Diffusion) -> GenerativeModel:
    """Denoising of codes, whose codec scales them to variance 1."""
    estimand = Preconditioned(net, codec.event, EDM(), 1.0)
    objective, likelihood = Denoising(mean=-0.4, std=1.2, sigma_data=1.0), ProbabilityFlow(preset.solver_steps, 2)
    return GenerativeModel(images, codec, estimand, objective, DPMSolver(), likelihood, preset.training)
