"""Hybrids: a paradigm behind a learned codec, or after a teacher of another paradigm.

    log p(x) >= E_q(z|x)[ log p(z) + log p(x | z) - log q(z | x) ]

A codec is trained first and then stays as it is; whatever models its codes gives ``log p(z)``, and what encoder and decoder
add stands where another codec has its log-determinant. So a hybrid is sampled, scored, saved and resumed as any other model
is, without a line of its own: this file only puts parts together.

=======================  ==========================================  =============================
name                     generative step                             what comes from elsewhere
=======================  ==========================================  =============================
``latent-diffusion``     diffusion of the codes                      an autoencoder of maps
``latent-autoregressive``  a transformer of the codes, one by one    a tokenizer (FSQ or VQ)
``latent-flow``          a normalizing flow of the codes             an autoencoder of vectors
``adversarial-student``  one pass of a generator                     a diffusion teacher
=======================  ==========================================  =============================
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from fourfold.codecs import LearnedCodec
from fourfold.core import Codec, GenerativeModel, Space, Training
from fourfold.nn.dit import DiT
from fourfold.nn.text_encoder import text_encoder
from fourfold.nn.unet import UNet
from fourfold.paradigms.diffusion import Denoising, Preconditioned
from fourfold.paradigms.latent import kl_autoencoder
from fourfold.paths import EDM
from fourfold.samplers.likelihood import ProbabilityFlow
from fourfold.samplers.ode import DPMSolver
from fourfold.spaces import Images, Vectors
from fourfold.vocabulary import Card, Paradigm

__all__ = ["CARDS", "behind"]


def behind(codec: Codec, step: GenerativeModel, space: Space) -> GenerativeModel:
    """The model of ``space`` whose codes are modelled as ``step`` models its examples.

    Args:
        codec: from raw examples to what ``step`` would call encoded ones.
        step: whose estimand, objective, sampler, likelihood and training are taken; its own codec is left out.
        space: of the raw examples.

    Raises:
        TypeError: if the parts do not fit.
    """
    parts = (step.estimand, step.objective, step.sampler, step.likelihood, step.training_defaults)
    return GenerativeModel(space, codec, *parts)


def _bare(space: Space) -> Any:
    """The space without labels and captions: what a codec is trained on."""
    if isinstance(space, Images):
        return replace(space, classes=None, class_names=(), caption=None)
    if isinstance(space, Vectors):
        return replace(space, classes=None, class_names=())
    raise TypeError(f"hybrids model images or vectors, not {type(space).__name__}")


def _images(space: Space, name: str) -> Images:
    """The space, if it is of images.

    Raises:
        TypeError: for another one.
    """
    if not isinstance(space, Images):
        raise TypeError(f"{name} is of images, not of {type(space).__name__}: use latent-flow for vectors")
    return space


# --- latent diffusion -------------------------------------------------------------------------------------------------


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


def latent_diffusion(space: Space, size: str, transformer: bool = False) -> GenerativeModel:
    """Diffusion of the codes of a KL autoencoder (Rombach et al. 2022, https://arxiv.org/abs/2112.10752).

    Raises:
        TypeError: for a space other than images.
    """
    images, preset = _images(space, "latent diffusion"), _DIFFUSION[size]
    codec = LearnedCodec(kl_autoencoder(_bare(images), size))
    channels, height, width = codec.event
    text = text_encoder(images.caption)
    if transformer:
        patch = 1 if max(height, width) <= 8 else 2
        net: Any = DiT((channels, height, width), *preset.transformer, patch, images.classes, 1, text)
    else:
        deep = min(len(preset.widths), max(1, min(height, width).bit_length() - 2))
        widths, blocks = preset.widths[:deep], preset.blocks[:deep]
        net = UNet(channels, widths, blocks, 1, images.classes, 2 * preset.widths[0], 1, text)
    estimand = Preconditioned(net, codec.event, EDM(), 1.0)
    objective, likelihood = Denoising(mean=-0.4, std=1.2, sigma_data=1.0), ProbabilityFlow(preset.solver_steps)
    return GenerativeModel(images, codec, estimand, objective, DPMSolver(), likelihood, preset.training)


CARDS = (
    Card(
        "latent-diffusion",
        Paradigm.DIFFUSION,
        {"unet": latent_diffusion, "dit": functools.partial(latent_diffusion, transformer=True)},
        "Diffusion of the codes of an autoencoder that is trained first.",
        inherits=("autoencoder",),
        captioned=("unet", "dit"),
    ),
)
