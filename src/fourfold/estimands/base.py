"""The estimands, the quantities of a distribution that can be learned, and the table of paradigms."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from fourfold.core import ArbitraryConditionals, Estimand, JointConditionals, Measure, Noise, register_paradigm
from fourfold.maths.categorical import categorical
from fourfold.maths.paths import Path
from fourfold.vocabulary import Paradigm, Principle

__all__ = [
    "AlongPath",
    "AnyOrderConditionals",
    "AverageVelocity",
    "Bijection",
    "Conditionals",
    "ConsistencyFunction",
    "Continuing",
    "ContinuousEnergy",
    "Decoder",
    "Denoiser",
    "Energy",
    "MixedDenoiser",
    "NoisePredictor",
    "NoisedEnergy",
    "Observation",
    "PartialRows",
    "Pushforward",
    "Reference",
    "Score",
    "StepwiseConditionals",
    "TiltedReference",
    "TokenDenoiser",
    "TokenwiseDenoiser",
    "VectorField",
    "Velocity",
]


def _name(path: Path) -> str:
    return type(path).__name__


def _levels(path: Path) -> str:
    return f"at every noise level of the {_name(path)} path"


class Conditionals(Estimand):
    """``p(x_i | x_<i, c)`` for ``i = 1 .. L``: scored in parallel, drawn one token after the other.

    ``event`` flattens to ``L`` tokens in the order of the chain rule. ``separate`` says whether ``vmap`` takes the
    gradient of a single example: no shape in its network depends on values.
    """

    separate: ClassVar[bool] = False

    @property
    def summary(self) -> str:
        return "a product of conditional distributions, one for each token of the example, in a fixed order"

    @abstractmethod
    def forward(self, x: Tensor, cond: Tensor | None = None) -> Tensor:
        """``log p(x_i | x_<i, c)`` of each token, ``(B, L)`` in nats (float32), for ``x`` of shape ``(B, *event)``."""

    @abstractmethod
    def begin(self, batch: int, cond: Tensor | None = None) -> Any:
        """The state before the first token of ``batch`` examples: caches, not weights."""

    @abstractmethod
    def draw(self, state: Any, noise: Noise, temperature: float = 1.0) -> tuple[Tensor, Any]:
        """Draw the next token of every example. Return it, ``(B,)``, and the advanced state."""


@dataclass
class PartialRows:
    """The state of rows ``x`` that are drawn: their first ``count`` values were handed out."""

    x: Tensor
    cond: Tensor | None
    count: int = 0


class StepwiseConditionals(Conditionals):
    """Conditionals of tokens that tell the logits of the next one, before any is drawn."""

    @abstractmethod
    def logits(self, state: Any) -> Tensor:
        """Logits of the next token of every example, ``(B, V)``. :meth:`take` must follow."""

    @abstractmethod
    def take(self, state: Any, token: Tensor) -> None:
        """Make ``(B,)`` the next token of every example."""


class AnyOrderConditionals(Conditionals, JointConditionals):
    """``p(x_i | x_S, c)`` for every position ``i`` and every set ``S`` of others: a chain rule in each order.

    Each order makes an exact distribution. Those of two orders agree as well as they were learned (Uria, Murray,
    Larochelle 2014, https://arxiv.org/abs/1310.1757).
    """

    @property
    def summary(self) -> str:
        return "the conditional distribution of each token of the example given any set of the others"

    @abstractmethod
    def in_order(self, x: Tensor, order: Tensor, cond: Tensor | None = None) -> Tensor:
        """``log p(x_i | those before i in the order, c)`` of each token, ``(B, L)``, for an order ``(L,)``."""

    def forward(self, x: Tensor, cond: Tensor | None = None) -> Tensor:
        return self.in_order(x, torch.arange(x.shape[1], device=x.device), cond)

    def begin(self, batch: int, cond: Tensor | None = None) -> PartialRows:
        device = next(self.parameters()).device
        return PartialRows(torch.zeros(batch, *self.event, dtype=torch.long, device=device), cond)

    def draw(self, state: PartialRows, noise: Noise, temperature: float = 1.0) -> tuple[Tensor, PartialRows]:
        i, x = state.count, state.x
        observed_mask = (torch.arange(*self.event, device=x.device) < i).expand(x.shape)
        x[:, i] = categorical(self.conditional(x, observed_mask, i, state.cond) / temperature, noise.uniform())
        state.count += 1
        return x[:, i], state

    def log_joint(self, x: Tensor, place: Tensor, cond: Tensor | None = None) -> Tensor:
        """``log p(x | c)`` in the order of the tokens, in which examples are scored and drawn, ``(B,)``."""
        return self(x, cond).sum(1)


class Continuing(ABC):
    """An estimand of sequences that goes on from given rows: ``p(x_>=t | x_<t)``."""

    @abstractmethod
    def go_on(
        self, x: Tensor, rows: int, noise: Noise, cond: Tensor | None = None, mask: Tensor | None = None
    ) -> Tensor:
        """Codes ``(B, *event)`` whose first rows are those of ``x``, with all further ones drawn.

        Args:
            x: codes ``(B, *event)``. Those of further rows may be any.
            rows: how many rows are given, at least 1.
            noise: the stream of these sequences.
            cond: their conditions, ``(B, *)``.
            mask: which codes of further rows stay as they are, bool ``(B, *event)``. These of a row come before its
                others.
        """


class Pushforward(Estimand):
    """``x = g(z)`` for ``z ~ N(0, I)`` of shape ``latent``."""

    latent: tuple[int, ...]

    @property
    def summary(self) -> str:
        return "a map from noise to examples, without a density"

    @abstractmethod
    def forward(self, z: Tensor, cond: Tensor | None = None) -> Any:
        """``g(z)``: ``(B, *event)``, or a distribution over it where the map is a :class:`Decoder`."""


class Observation:
    """A distribution over encoded examples, with a log-probability and draws: the output of a decoder."""

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

    @property
    def summary(self) -> str:
        return "a prior over codes, and a decoder from codes to a distribution over examples"

    @abstractmethod
    def forward(self, z: Tensor, cond: Tensor | None = None) -> Observation:
        """The observation model of ``z``, ``(B, *latent)``."""


class Bijection(Pushforward):
    """An invertible ``g`` with a log-determinant."""

    measure = Measure.LEBESGUE

    @property
    def summary(self) -> str:
        return "an invertible map between noise and data"

    @abstractmethod
    def inverse(self, x: Tensor, cond: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """``z = g^-1(x)`` and ``log |det dz/dx|``, ``(B,)``."""


class AlongPath(Estimand):
    """A function of an example at a time of a path: the noised example, or the state of an ODE."""

    measure = Measure.LEBESGUE
    path: Path

    @abstractmethod
    def forward(self, x_t: Tensor, t: Tensor, cond: Tensor | None = None) -> Tensor:
        """The function's value, ``(B, *event)``, for ``t`` of shape ``(B,)``."""


class Denoiser(AlongPath):
    """``D(x_t, t) = E[x_0 | x_t]`` along a path."""

    @property
    def summary(self) -> str:
        return f"the denoiser E[x | x_t] {_levels(self.path)}"


class NoisePredictor(AlongPath):
    """``eps_hat(x_t, t) = E[eps | x_t]`` along a path (Ho, Jain, Abbeel 2020, https://arxiv.org/abs/2006.11239)."""

    @property
    def summary(self) -> str:
        return f"the noise E[ε | x_t] {_levels(self.path)}"


class VectorField(AlongPath):
    """``v(x, t)``: the ODE ``dx/dt = v(x, t)`` carries noise to data.

    The path is the ODE's time axis: ``x`` is ``N(0, sigma_T^2 I)`` at its last time and data at its first. The field
    says nothing about the distribution of states between. So a field is enough for a solver of the ODE and for its
    density, but not for a sampler that adds noise, which needs the score.
    """

    @property
    def summary(self) -> str:
        return "a velocity field whose ODE carries noise to data"


class Velocity(VectorField):
    """``v(x_t, t) = E[dx_t/dt | x_t]`` for noise independent of the data: the field of the probability-flow ODE.

    Only this field determines the denoiser, the noise and the score.
    """

    @property
    def summary(self) -> str:
        return f"the velocity E[dx_t/dt | x_t] {_levels(self.path)}"


class AverageVelocity(Estimand):
    """``u(x_t, t, s) = 1 / (s - t) · integral from t to s of v(x_tau, tau) d tau`` along the ODE through ``x_t``.

    So ``x_s = x_t + (s - t) u(x_t, t, s)`` takes one evaluation, whatever the distance, and ``u(x_t, t, t) = v(x_t,
    t)`` (Geng et al. 2025, https://arxiv.org/abs/2505.13447).
    """

    measure = Measure.LEBESGUE
    path: Path

    @property
    def summary(self) -> str:
        return f"the average velocity between any two times of the {_name(self.path)} path's probability-flow ODE"

    @abstractmethod
    def forward(self, x_t: Tensor, t: Tensor, s: Tensor, cond: Tensor | None = None) -> Tensor:
        """The average velocity, ``(B, *event)``, for ``t`` and ``s`` of shape ``(B,)``."""


class ConsistencyFunction(AlongPath):
    """``f(x_t, t)``: the end of the probability-flow ODE through ``x_t``, at the path's first time.

    It is the same for every point of one trajectory (Song et al. 2023, https://arxiv.org/abs/2303.01469).
    """

    @property
    def summary(self) -> str:
        return f"where the {_name(self.path)} path's probability-flow ODE ends, from any of its points"


class Score(AlongPath):
    """``s(x_t, t) = grad_x log p_t(x_t)``."""

    @property
    def summary(self) -> str:
        return f"the score ∇ log p_t(x_t) {_levels(self.path)}"


class Reference(nn.Module):
    """A normalised distribution near that of an energy: chains start there, and objectives contrast data with it."""

    @abstractmethod
    def log_prob(self, x: Tensor) -> Tensor:
        """``log q(x)`` in nats, ``(B,)`` float32, with respect to the codec's measure."""

    @abstractmethod
    def draw(self, noise: Noise) -> Tensor:
        """``len(noise)`` draws, ``(n, *event)``."""

    def at_rest(self) -> Reference:
        """The same distribution for many calls, during which its parameters do not change."""
        return self


class Energy(Estimand):
    """``E(x)`` with ``p(x) proportional to exp(-E(x))``.

    ``reference`` is where its chains start, and ``net`` is all the rest, which objectives train.
    """

    net: nn.Module
    reference: Reference

    @property
    def summary(self) -> str:
        return "an unnormalised log-density"

    @abstractmethod
    def forward(self, x: Tensor, cond: Tensor | None = None) -> Tensor:
        """The energy, ``(B,)`` float32, up to a constant that may depend on ``cond``."""


class ContinuousEnergy(Energy):
    """The energy of reals, differentiable in ``x``: a chain that follows the gradient needs one.

    An energy of bits has a gradient too, but a chain along it leaves the bits.
    """

    measure = Measure.LEBESGUE


class TiltedReference(ContinuousEnergy):
    """``E(x, c) = -log q(x) - f(x, c)``: a reference distribution ``q``, tilted by ``f``."""

    @abstractmethod
    def tilt(self, x: Tensor, cond: Tensor | None = None) -> Tensor:
        """``f(x, c)``, ``(B,)``: the log-ratio of the model's density to the reference's, up to ``log Z``."""

    def forward(self, x: Tensor, cond: Tensor | None = None) -> Tensor:
        return -self.reference.log_prob(x) - self.tilt(x, cond)


class NoisedEnergy(Energy):
    """``E(x_t, t)`` with ``p_t(x_t) proportional to exp(-E(x_t, t))`` along a path. An :class:`Energy` at ``t_min``.

    Training sees only examples with the noise of their level, so a chain at ``t_min`` does not find the way from the
    reference to the data. That is why it is not a :class:`ContinuousEnergy`, and chains go through the noise levels.

    Its view as a :class:`Score` is exact, by autograd. A plain energy has no such view: it knows its score at one noise
    level only, and a sampler that follows a path would silently go astray.
    """

    measure = Measure.LEBESGUE
    path: Path

    @property
    def summary(self) -> str:
        return f"an unnormalised log-density of the noised data {_levels(self.path)}"

    @abstractmethod
    def at(self, x_t: Tensor, t: Tensor, cond: Tensor | None = None) -> Tensor:
        """The energy at the noise of ``t``, ``(B,)``, up to a constant that may depend on ``t`` and ``cond``."""

    def forward(self, x: Tensor, cond: Tensor | None = None) -> Tensor:
        return self.at(x, torch.full((len(x),), self.path.t_min, device=x.device), cond)


class TokenDenoiser(ArbitraryConditionals, Estimand):
    """``p(x_i | x_S, c)`` of each masked token on its own, given the tokens ``S`` that are not masked.

    With masks as the noise, the denoiser at a time is that of the tokens left, whatever the time (Ou et al. 2024,
    https://arxiv.org/abs/2406.03736).
    """

    measure = Measure.COUNTING

    @property
    def summary(self) -> str:
        return "the distribution of each masked token given the tokens that are not masked, for every set of them"

    @abstractmethod
    def forward(self, x: Tensor, observed_mask: Tensor, cond: Tensor | None = None) -> Tensor:
        """``log p(x_i | x_S, c)`` of each token of ``(B, L)``, ``(B, L)`` in nats, where ``i`` is not in ``S``.

        Tokens outside ``observed_mask``, bool ``(B, L)``, are masked. The result of observed ones has no meaning.
        """

    @abstractmethod
    def draw(self, x: Tensor, observed_mask: Tensor, mask: Tensor, u: Tensor, cond: Tensor | None = None) -> Tensor:
        """``x`` with the tokens of ``mask``, ``(B, L)``, drawn given the observed ones by uniform ``u``, ``(B, L)``."""


class TokenwiseDenoiser(TokenDenoiser):
    """A denoiser that tells the masses of all tokens at once, and draws each of them on its own."""

    @abstractmethod
    def log_masses(
        self, x: Tensor, observed_mask: Tensor, positions: Sequence[int], cond: Tensor | None = None
    ) -> Sequence[Tensor]:
        """``log p(x_i = k | x_S, c)`` of every token ``k`` at each of some positions, ``(B, V_i)`` each."""

    def conditional(self, x: Tensor, observed_mask: Tensor, position: int, cond: Tensor | None = None) -> Tensor:
        return self.log_masses(x, observed_mask, [position], cond)[0]


class MixedDenoiser(Estimand):
    """``p(k_i | k_S, z_t, c)`` of each masked token, and ``E[z | k_S, z_t, c]`` of the reals, along a path.

    A code is ``(k, z)``: tokens ``k``, ``(B, K)``, of which those in ``S`` are not masked, and reals ``z``, ``(B, R)``,
    with the noise of ``t``. Tokens lose their masks and reals their noise together (Shi et al. 2024,
    https://arxiv.org/abs/2410.20626).

    Attributes:
        sizes: the number of tokens of each discrete value.
        groups: the discrete values in groups of like sizes, which share one output.
        reals: the number of reals.
        path: the noise of the reals.
    """

    measure = Measure.MIXED
    sizes: tuple[int, ...]
    groups: tuple[tuple[int, ...], ...]
    reals: int
    path: Path

    @property
    def summary(self) -> str:
        return (
            "the distribution of each masked category, and the denoiser E[z | ·] of the numbers, "
            "given the categories that are not masked and the noised numbers"
        )

    @abstractmethod
    def forward(
        self, k: Tensor, observed_mask: Tensor, z_t: Tensor, t: Tensor, cond: Tensor | None = None
    ) -> tuple[tuple[Tensor, ...], Tensor]:
        """``log p(k_i = j | k_S, z_t, c)`` of each token of each discrete value, and the denoised reals.

        Args:
            k: tokens ``(B, K)``.
            observed_mask: true for those that are not masked, bool ``(B, K)``.
            z_t: noised reals ``(B, R)``.
            t: times of the path, ``(B,)``.
            cond: labels ``(B,)``.

        Returns:
            ``(B, len(group), tokens)`` in nats for each group, ``-inf`` beyond a value's own tokens, and ``(B, R)``.
        """


# --- the table --------------------------------------------------------------------------------------------------------

register_paradigm(Conditionals, Principle.LIKELIHOOD, Paradigm.AUTOREGRESSIVE)
register_paradigm(Decoder, Principle.BOUND, Paradigm.LATENT_VARIABLE)
register_paradigm(Pushforward, Principle.ADVERSARIAL, Paradigm.ADVERSARIAL)
register_paradigm(Denoiser, Principle.DENOISING, Paradigm.DIFFUSION)
register_paradigm(NoisePredictor, Principle.DENOISING, Paradigm.DIFFUSION)
register_paradigm(VectorField, Principle.DENOISING, Paradigm.DIFFUSION)
register_paradigm(Score, Principle.DENOISING, Paradigm.DIFFUSION)
register_paradigm(Score, Principle.SCORE_MATCHING, Paradigm.DIFFUSION)
register_paradigm(AverageVelocity, Principle.DENOISING, Paradigm.DIFFUSION)
register_paradigm(ConsistencyFunction, Principle.DENOISING, Paradigm.DIFFUSION)
register_paradigm(TokenDenoiser, Principle.BOUND, Paradigm.DIFFUSION)
register_paradigm(MixedDenoiser, Principle.BOUND, Paradigm.DIFFUSION)
register_paradigm(Bijection, Principle.LIKELIHOOD, Paradigm.FLOW)
register_paradigm(VectorField, Principle.LIKELIHOOD, Paradigm.FLOW)
register_paradigm(Energy, Principle.CONTRASTIVE, Paradigm.ENERGY)
register_paradigm(Energy, Principle.DENOISING, Paradigm.ENERGY)
register_paradigm(Energy, Principle.SCORE_MATCHING, Paradigm.ENERGY)
