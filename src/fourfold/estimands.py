"""The estimands: what can be learned of a distribution, and the exact views between them.

For a path ``x_t = alpha_t x_0 + sigma_t eps`` the denoiser ``D = E[x_0 | x_t]``, the velocity ``v = E[dx_t/dt | x_t]`` and
the score ``s = grad log p_t(x_t)`` are affine in each other:

    eps_hat = (x_t - alpha_t D) / sigma_t          s = -eps_hat / sigma_t
    v = alpha'_t D + sigma'_t eps_hat

so a model of one is a model of all (Song et al. 2021, https://arxiv.org/abs/2011.13456; Kingma and Gao 2023,
https://arxiv.org/abs/2303.00848).
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, final

from torch import Tensor

from fourfold.core import Estimand, Noise, register_paradigm, register_view
from fourfold.paths import Path, broadcast
from fourfold.vocabulary import Paradigm, Principle

__all__ = [
    "Bijection",
    "Conditionals",
    "Decoder",
    "Denoiser",
    "Energy",
    "Observation",
    "Pushforward",
    "Score",
    "TokenDenoiser",
    "Velocity",
]


class Conditionals(Estimand):
    """``p(x_i | x_<i, c)`` for ``i = 1 .. L``: scored in parallel, drawn one piece after the other.

    ``event`` flattens to ``L`` pieces in the order of the chain rule.
    """

    @abstractmethod
    def forward(self, x: Tensor, cond: Tensor | None = None) -> Tensor:
        """``log p(x_i | x_<i, c)`` of each piece, ``(B, L)`` in nats (float32), for ``x`` of shape ``(B, *event)``."""

    @abstractmethod
    def begin(self, batch: int, cond: Tensor | None = None) -> Any:
        """The state before the first piece of ``batch`` examples: caches, not weights."""

    @abstractmethod
    def draw(self, state: Any, noise: Noise, temperature: float = 1.0) -> tuple[Tensor, Any]:
        """Draw the next piece of every example; return it, ``(B,)``, and the advanced state."""


class Pushforward(Estimand):
    """``x = g(z)`` for ``z ~ N(0, I)`` of shape ``latent``."""

    latent: tuple[int, ...]

    @abstractmethod
    def forward(self, z: Tensor, cond: Tensor | None = None) -> Any:
        """``g(z)``: ``(B, *event)``, or the parameters of a distribution over it where the map is a :class:`Decoder`."""


class Observation:
    """What a decoder returns: a distribution over encoded examples, with a log-probability and draws."""

    @abstractmethod
    def log_prob(self, x: Tensor) -> Tensor:
        """``log p(x | z)`` in nats, ``(B,)``, with respect to the codec's measure."""

    @abstractmethod
    def draw(self, noise: Noise) -> Tensor:
        """One draw per example, ``(B, *event)``."""

    @abstractmethod
    def mean(self) -> Tensor:
        """The mean (or mode, for categories), ``(B, *event)``."""


class Decoder(Pushforward):
    """``p(x | z)``: a pushforward that ends in a distribution, so that a bound on ``log p(x)`` exists."""

    @abstractmethod
    def forward(self, z: Tensor, cond: Tensor | None = None) -> Observation:
        """The observation model of ``z``, ``(B, *latent)``."""


class Bijection(Pushforward):
    """An invertible ``g`` with a log-determinant."""

    @abstractmethod
    def inverse(self, x: Tensor, cond: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """``z = g^-1(x)`` and ``log |det dz/dx|``, ``(B,)``."""


class Denoiser(Estimand):
    """``D(x_t, t) = E[x_0 | x_t]`` along a path."""

    path: Path

    @abstractmethod
    def forward(self, x_t: Tensor, t: Tensor, cond: Tensor | None = None) -> Tensor:
        """The conditional mean of the data, ``(B, *event)``, for ``t`` of shape ``(B,)``."""


class Velocity(Estimand):
    """``v(x_t, t) = E[dx_t/dt | x_t]``: the probability-flow ODE is ``dx/dt = v(x, t)``."""

    path: Path

    @abstractmethod
    def forward(self, x_t: Tensor, t: Tensor, cond: Tensor | None = None) -> Tensor:
        """The velocity, ``(B, *event)``, for ``t`` of shape ``(B,)``."""


class Score(Estimand):
    """``s(x_t, t) = grad_x log p_t(x_t)``."""

    path: Path

    @abstractmethod
    def forward(self, x_t: Tensor, t: Tensor, cond: Tensor | None = None) -> Tensor:
        """The score, ``(B, *event)``, for ``t`` of shape ``(B,)``."""


class Energy(Estimand):
    """``E(x)`` with ``p(x) proportional to exp(-E(x))``."""

    @abstractmethod
    def forward(self, x: Tensor, cond: Tensor | None = None) -> Tensor:
        """The energy, ``(B,)``."""


class TokenDenoiser(Estimand):
    """``p(x_0 | x_t)`` of each token of a corrupted sequence (masked or uniform corruption)."""

    @abstractmethod
    def forward(self, x_t: Tensor, t: Tensor, cond: Tensor | None = None) -> Tensor:
        """Logits, ``(B, L, V)``."""


# --- views ------------------------------------------------------------------------------------------------------------


@register_view(Denoiser, Velocity)
@final
class DenoiserAsVelocity(Velocity):
    """``v = alpha' D + sigma' (x_t - alpha D) / sigma``."""

    def __init__(self, denoiser: Denoiser) -> None:
        super().__init__()
        self.denoiser, self.path, self.event = denoiser, denoiser.path, denoiser.event

    def forward(self, x_t: Tensor, t: Tensor, cond: Tensor | None = None) -> Tensor:
        x_0 = self.denoiser(x_t, t, cond)
        eps = (x_t - broadcast(self.path.alpha(t), x_t) * x_0) / broadcast(self.path.sigma(t), x_t)
        return broadcast(self.path.d_alpha(t), x_t) * x_0 + broadcast(self.path.d_sigma(t), x_t) * eps


@register_view(Velocity, Denoiser)
@final
class VelocityAsDenoiser(Denoiser):
    """``D = (sigma v - sigma' x_t) / (alpha' sigma - sigma' alpha)``."""

    def __init__(self, velocity: Velocity) -> None:
        super().__init__()
        self.velocity, self.path, self.event = velocity, velocity.path, velocity.event

    def forward(self, x_t: Tensor, t: Tensor, cond: Tensor | None = None) -> Tensor:
        alpha, sigma = self.path.alpha(t), self.path.sigma(t)
        d_alpha, d_sigma = self.path.d_alpha(t), self.path.d_sigma(t)
        scale = d_alpha * sigma - d_sigma * alpha
        return broadcast(sigma / scale, x_t) * self.velocity(x_t, t, cond) - broadcast(d_sigma / scale, x_t) * x_t


@register_view(Denoiser, Score)
@final
class DenoiserAsScore(Score):
    """``s = (alpha D - x_t) / sigma^2``."""

    def __init__(self, denoiser: Denoiser) -> None:
        super().__init__()
        self.denoiser, self.path, self.event = denoiser, denoiser.path, denoiser.event

    def forward(self, x_t: Tensor, t: Tensor, cond: Tensor | None = None) -> Tensor:
        x_0 = self.denoiser(x_t, t, cond)
        return (broadcast(self.path.alpha(t), x_t) * x_0 - x_t) / broadcast(self.path.sigma(t) ** 2, x_t)


@register_view(Score, Denoiser)
@final
class ScoreAsDenoiser(Denoiser):
    """``D = (x_t + sigma^2 s) / alpha`` (Tweedie)."""

    def __init__(self, score: Score) -> None:
        super().__init__()
        self.score, self.path, self.event = score, score.path, score.event

    def forward(self, x_t: Tensor, t: Tensor, cond: Tensor | None = None) -> Tensor:
        s = self.score(x_t, t, cond)
        return (x_t + broadcast(self.path.sigma(t) ** 2, x_t) * s) / broadcast(self.path.alpha(t), x_t)


# --- the table --------------------------------------------------------------------------------------------------------

register_paradigm(Conditionals, Principle.LIKELIHOOD, Paradigm.AUTOREGRESSIVE)
register_paradigm(Decoder, Principle.BOUND, Paradigm.LATENT_VARIABLE)
register_paradigm(Pushforward, Principle.ADVERSARIAL, Paradigm.ADVERSARIAL)
register_paradigm(Denoiser, Principle.DENOISING, Paradigm.DIFFUSION)
register_paradigm(Velocity, Principle.DENOISING, Paradigm.DIFFUSION)
register_paradigm(Score, Principle.DENOISING, Paradigm.DIFFUSION)
register_paradigm(TokenDenoiser, Principle.BOUND, Paradigm.DIFFUSION)
register_paradigm(Bijection, Principle.LIKELIHOOD, Paradigm.FLOW)
register_paradigm(Velocity, Principle.LIKELIHOOD, Paradigm.FLOW)
register_paradigm(Energy, Principle.CONTRASTIVE, Paradigm.ENERGY)
register_paradigm(Energy, Principle.DENOISING, Paradigm.ENERGY)
