"""Adversarial: a generator and a critic in a game, with a relativistic pairing loss and two gradient penalties.

    critic     min_D  E[ softplus(D(G(z)) - D(x)) ] + gamma/2 (E ||grad_x D(x)||^2 + E ||grad D(G(z))||^2)
    generator  min_G  E[ softplus(D(x) - D(G(z))) ]

The loss pairs every generated example with a real one (Jolicoeur-Martineau 2019, https://arxiv.org/abs/1807.00734), and
penalties at both the data (R1) and the samples (R2) make the game converge locally (Mescheder, Geiger, Nowozin 2018,
https://arxiv.org/abs/1801.04406; Huang, Gokaslan, Kuleshov, Tompkin 2024, https://arxiv.org/abs/2501.05441). Both networks
are residual and have no normalisation.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor, nn
from torch.nn import functional

from fourfold.codecs import Centred, Standardised
from fourfold.core import (
    Batch,
    GenerativeModel,
    Likelihood,
    LogProb,
    Noise,
    Objective,
    Sampler,
    Space,
    Term,
    Training,
    no_likelihood,
)
from fourfold.estimands import Pushforward
from fourfold.nn.resnet import ResMLP, ResNetCritic, ResNetDecoder
from fourfold.spaces import Images, Vectors
from fourfold.vocabulary import Card, Paradigm, Principle

__all__ = [
    "CARD",
    "CriticTerm",
    "Generator",
    "GeneratorTerm",
    "NoDensity",
    "OnePass",
    "RelativisticPairing",
    "gradient_penalty",
]


@final
class Generator(Pushforward):
    """``x = g(z)`` by one network evaluation; ``bounded`` keeps it near [-1, 1], where the data is.

    Args:
        net: noise (and labels) to examples.
        event: shape of an encoded example.
        noise: length of ``z``.
        bounded: pull values beyond [-1, 1] back to a tenth of the excess.
    """

    def __init__(self, net: nn.Module, event: tuple[int, ...], noise: int, bounded: bool) -> None:
        super().__init__()
        self.net, self.event, self.latent, self.bounded = net, tuple(event), (noise,), bounded

    def forward(self, z: Tensor, cond: Tensor | None = None) -> Tensor:
        x = self.net(z, cond)
        return _walled(x) if self.bounded else x


def _walled(x: Tensor) -> Tensor:
    """``x`` within [-1, 1], a tenth of the excess beyond: almost bounded, and a gradient everywhere.

    A ``tanh`` can be driven to where it has none, and the game is then over.
    """
    inside = x.clamp(-1, 1)
    return inside + 0.1 * (x - inside)


@final
class RelativisticPairing(Objective):
    """The relativistic pairing game with R1 and R2, exact gradients by double backward.

    Args:
        critic: examples (and labels) to one number each, ``(B,)`` or ``(B, 1)``.
        gamma: weight of both penalties.
        every: the penalties are taken at every ``every``-th example of a batch and weighted accordingly, which keeps
            their expectation and divides their cost.
        drop: share of labels hidden while training, so that the model can also be asked without one.
    """

    learns = Pushforward
    principle = Principle.ADVERSARIAL

    def __init__(self, critic: nn.Module, gamma: float = 1.0, every: int = 1, drop: float = 0.1) -> None:
        super().__init__()
        if gamma < 0 or every < 1:
            raise ValueError(f"gamma must be at least 0 and every at least 1, not {gamma} and {every}")
        self.critic, self.gamma, self.every, self.drop = critic, gamma, every, drop

    def terms(self, estimand: Pushforward) -> Mapping[str, Term]:
        return {
            "critic": CriticTerm(estimand, self.critic, self.gamma, self.every, self.drop),
            "generator": GeneratorTerm(estimand, self.critic, self.drop),
        }


@final
class CriticTerm(Term):
    """``softplus(D(G(z)) - D(x)) + gamma/2 (||grad D(x)||^2 + ||grad D(G(z))||^2)``; the generator stands still.

    Watches ``critic_accuracy`` (share of pairs ranked rightly), ``critic_margin`` (mean ``D(x) - D(G(z))``) and
    ``penalty`` (mean of R1 + R2).
    """

    def __init__(self, generator: Pushforward, critic: nn.Module, gamma: float, every: int, drop: float) -> None:
        super().__init__([critic])
        self.generator, self.critic = generator, critic
        self.gamma, self.every, self.drop = gamma, every, drop

    def forward(self, batch: Batch) -> Tensor:
        cond = _hidden(batch.cond, self.drop if self.training else 0.0)
        with torch.no_grad():
            fake = _generated(self.generator, batch.x, cond)
        margin = _margin(self.critic, batch.x, fake, cond)
        penalty = self._penalty(batch.x, fake, cond)
        self.watched = {
            "critic_accuracy": (margin.detach() > 0).float().mean(),
            "critic_margin": margin.detach().mean(),
            "penalty": penalty.detach().mean(),
        }
        return functional.softplus(-margin) + self.gamma / 2 * penalty

    def _penalty(self, x: Tensor, fake: Tensor, cond: Tensor | None) -> Tensor:
        """R1 + R2 at every ``every``-th pair, times the inverse of their share; 0 at the others, ``(B,)``."""
        if self.gamma == 0:
            return x.new_zeros(len(x))
        x, fake, n = x[:: self.every], fake[:: self.every], len(x)
        cond = None if cond is None else cond[:: self.every]
        r1, r2 = gradient_penalty(self.critic, torch.cat([x, fake]), _twice(cond)).chunk(2)
        index = torch.arange(0, n, self.every, device=x.device)
        return x.new_zeros(n).index_add(0, index, (r1 + r2) * (n / len(x)))


@final
class GeneratorTerm(Term):
    """``softplus(D(x) - D(G(z)))``; the critic stands still.

    Watches ``diversity``: the root of the total variance of a generated batch over that of the data, near 1 when the
    samples spread as the data does and near 0 when they are all alike.
    """

    def __init__(self, generator: Pushforward, critic: nn.Module, drop: float) -> None:
        super().__init__([generator])
        self.generator, self.critic, self.drop = generator, critic, drop

    def forward(self, batch: Batch) -> Tensor:
        cond = _hidden(batch.cond, self.drop if self.training else 0.0)
        fake = _generated(self.generator, batch.x, cond)
        spread = [x.detach().var(0, correction=0).sum() for x in (fake, batch.x)]
        self.watched = {"diversity": (spread[0] / spread[1].clamp(min=1e-12)).sqrt()}
        return functional.softplus(_margin(self.critic, batch.x, fake, cond))


def _generated(generator: Pushforward, x: Tensor, cond: Tensor | None) -> Tensor:
    """One fresh sample for each row of ``x``."""
    return generator(torch.randn(len(x), *generator.latent, device=x.device), cond)


def _margin(critic: nn.Module, x: Tensor, fake: Tensor, cond: Tensor | None) -> Tensor:
    """``D(x) - D(fake)``, ``(B,)``, by one call of the critic."""
    real, false = critic(torch.cat([x, fake]), _twice(cond)).reshape(-1).chunk(2)
    return real - false


def _twice(cond: Tensor | None) -> Tensor | None:
    """The labels of data and samples side by side."""
    return None if cond is None else torch.cat([cond, cond])


def _hidden(cond: Tensor | None, share: float) -> Tensor | None:
    """The labels with a random share of them replaced by -1."""
    if cond is None or share == 0:
        return cond
    return torch.where(torch.rand(cond.shape, device=cond.device) < share, -1, cond)


def gradient_penalty(critic: nn.Module, x: Tensor, cond: Tensor | None = None) -> Tensor:
    """``||grad_x D(x)||^2`` of each example, ``(B,)``, differentiable in the critic's parameters."""
    with torch.enable_grad():
        x = x.detach().requires_grad_()
        (gradient,) = torch.autograd.grad(critic(x, cond).sum(), x, create_graph=True)
    return gradient.float().square().flatten(1).sum(1)


# --- sampling and likelihood ------------------------------------------------------------------------------------------


@final
@dataclass(frozen=True)
class OnePass(Sampler):
    """``z ~ N(0, I)``, ``x = g(z)``; ``truncation`` below 1 shrinks ``z``: fewer odd samples, less variety.

    Truncation: Brock, Donahue, Simonyan 2019 (https://arxiv.org/abs/1809.11096), here by scaling.
    """

    needs = Pushforward
    truncation: float = 1.0

    def __call__(self, estimand: Pushforward, noise: Noise, cond: Tensor | None = None) -> Tensor:
        return estimand(self.truncation * noise.normal(*estimand.latent), cond)


@final
@dataclass(frozen=True)
class NoDensity(Likelihood):
    """No likelihood: the image of noise under a map that is not invertible has no density to evaluate."""

    needs = Pushforward

    def __call__(self, estimand: Pushforward, batch: Batch, noise: Noise, objective: Objective) -> LogProb:
        return no_likelihood(
            len(batch.x),
            "a generator defines no density: judge its samples by distances to held-out data "
            "(Frechet distance, precision and recall, coverage) instead",
        )


# --- presets ----------------------------------------------------------------------------------------------------------


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


def pairing(space: Space, size: str) -> GenerativeModel:
    """The relativistic pairing game: residual convolutions for images, residual perceptrons for vectors.

    Raises:
        TypeError: for a space that is neither images nor vectors.
    """
    if isinstance(space, Images):
        return _images(space, _IMAGES[size])
    if isinstance(space, Vectors):
        return _vectors(space, _VECTORS[size])
    raise TypeError(f"the adversarial model is of images or vectors, not of {type(space).__name__}")


def _images(space: Images, size: _Size) -> GenerativeModel:
    shape, classes = (space.channels, space.height, space.width), space.classes
    net = ResNetDecoder(size.noise, shape, space.channels, size.width, size.blocks, classes)
    critic = ResNetCritic(shape, size.critic_width, size.critic_blocks, 256, classes)
    return GenerativeModel(
        space,
        Centred(space),
        Generator(net, space.shape, size.noise, bounded=True),
        RelativisticPairing(critic, gamma=0.1, every=4),
        OnePass(),
        NoDensity(),
        Training(batch_size=64, learning_rate=4e-4, warmup=0.05, betas=(0.0, 0.99), ema=0.1, clip=0.0),
    )


def _vectors(space: Vectors, size: _Size) -> GenerativeModel:
    noise = max(2, min(2 * space.dim, size.noise))
    net = ResMLP(noise, space.dim, size.width, size.blocks, space.classes)
    critic = ResMLP(space.dim, 1, size.critic_width, size.critic_blocks, space.classes)
    return GenerativeModel(
        space,
        Standardised(space),
        Generator(net, space.shape, noise, bounded=False),
        RelativisticPairing(critic, gamma=0.1),
        OnePass(),
        NoDensity(),
        Training(batch_size=256, learning_rate=5e-4, betas=(0.0, 0.99), ema=0.1, clip=0.0),
    )


CARD = Card(
    name="adversarial",
    paradigm=Paradigm.ADVERSARIAL,
    recipes={"pairing": pairing},
    summary="A generator against a critic, by the relativistic pairing loss with two gradient penalties.",
)
