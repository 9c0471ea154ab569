"""Generative adversarial networks (GANs): a generator and a critic, with a choice of losses and critic penalties.

    critic     min_D  E[ a(D(x), D(G(z))) ] + penalty(D)
    generator  min_G  E[ b(D(x), D(G(z))) ]

:class:`AdversarialGame` takes a :class:`Contest`, the pair ``(a, b)``, and a :class:`Penalty`. The default is the
relativistic pairing of every generated example with a real one (Jolicoeur-Martineau 2019,
https://arxiv.org/abs/1807.00734) with zero-centred penalties at both the data (R1) and the samples (R2), which make
training converge locally (Mescheder, Geiger, Nowozin 2018, https://arxiv.org/abs/1801.04406; Huang, Gokaslan,
Kuleshov, Tompkin 2024, https://arxiv.org/abs/2501.05441), on residual networks without normalisation. The others are
the non-saturating loss with R1, the hinge loss, and the Wasserstein distance with a gradient penalty. The generator of
StyleGAN2, which is trained by the same losses, is in :mod:`fourfold.paradigms.stylegan`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fourfold.core import Batch, Estimand, Noise, Objective, Sampler, Term, forgetful
from fourfold.estimands import Observation, Pushforward
from fourfold.maths.gradients import twice_differentiable
from fourfold.nn.augment import Augment
from fourfold.nn.layers import soft_clamp
from fourfold.vocabulary import Cost, Principle

__all__ = [
    "AdversarialGame",
    "Contest",
    "CriticTerm",
    "Generator",
    "GeneratorTerm",
    "Hinge",
    "NonSaturating",
    "OnePass",
    "Pairing",
    "Penalty",
    "Regulariser",
    "UnitNorm",
    "Wasserstein",
    "ZeroCentred",
    "gradient_penalty",
]


# --- generators -------------------------------------------------------------------------------------------------------


@final
class Generator(Pushforward):
    """``x = g(z)`` by one network evaluation. ``bounded`` keeps it near [-1, 1], where the data is.

    Args:
        net: maps noise (and labels) to examples.
        event: shape of an encoded example.
        noise: length of ``z``.
        bounded: pull values beyond [-1, 1] back to a tenth of the excess.
    """

    def __init__(self, net: nn.Module, event: tuple[int, ...], noise: int, bounded: bool) -> None:
        super().__init__()
        self.net, self.event, self.latent, self.bounded = net, tuple(event), (noise,), bounded

    def forward(self, z: Tensor, cond: Tensor | None = None) -> Tensor:
        x = self.net(z, cond)
        return soft_clamp(x) if self.bounded else x


# --- the losses -------------------------------------------------------------------------------------------------------


class Contest(ABC):
    """The losses ``a`` of the critic and ``b`` of the generator, given the critic's numbers for data and samples.

    Numbers come in pairs, ``(B,)`` each. Concrete contests are frozen dataclasses.

    Attributes:
        paired: whether ``b`` depends on ``D(x)``. If not, :meth:`generator` gets no numbers of data, ``(0,)``.
        saturates: whether a critic that ranks every pair correctly may teach nothing.
    """

    paired: ClassVar[bool] = False
    saturates: ClassVar[bool] = True

    @property
    def summary(self) -> str:
        """The task of the critic, as a clause."""
        return type(self).__name__

    @property
    def formula(self) -> str:
        """Both losses in one line, where ``r = D(x)`` and ``f = D(G(z))``."""
        return ""

    @abstractmethod
    def critic(self, real: Tensor, fake: Tensor) -> Tensor:
        """``a``, ``(B,)``."""

    @abstractmethod
    def generator(self, real: Tensor, fake: Tensor) -> Tensor:
        """``b``, ``(B,)``."""

    @abstractmethod
    def confidence(self, real: Tensor, fake: Tensor) -> Tensor:
        """The critic's confidence that training data is data, in [-1, 1], ``(B,)``. Near 1 it has memorised it."""


@final
@dataclass(frozen=True)
class Pairing(Contest):
    """``a = softplus(f - r)``, ``b = softplus(r - f)``: each sample against an example (Jolicoeur-Martineau 2019)."""

    summary = "the critic compares each sample with an example (relativistic pairing)"
    formula = "min_D E ζ(D(G(z)) − D(x)),  min_G E ζ(D(x) − D(G(z)))"
    paired: ClassVar[bool] = True

    def critic(self, real: Tensor, fake: Tensor) -> Tensor:
        return F.softplus(fake - real)

    def generator(self, real: Tensor, fake: Tensor) -> Tensor:
        return F.softplus(real - fake)

    def confidence(self, real: Tensor, fake: Tensor) -> Tensor:
        return torch.sign(real - fake)


@final
@dataclass(frozen=True)
class NonSaturating(Contest):
    """``a = softplus(-r) + softplus(f)``, ``b = softplus(-f)`` (Goodfellow et al. 2014, https://arxiv.org/abs/1406.2661)."""

    summary = "the critic classifies data and samples (the non-saturating loss)"
    formula = "min_D E ζ(−D(x)) + E ζ(D(G(z))),  min_G E ζ(−D(G(z)))"

    def critic(self, real: Tensor, fake: Tensor) -> Tensor:
        return F.softplus(-real) + F.softplus(fake)

    def generator(self, real: Tensor, fake: Tensor) -> Tensor:
        return F.softplus(-fake)

    def confidence(self, real: Tensor, fake: Tensor) -> Tensor:
        return torch.sign(real)


@final
@dataclass(frozen=True)
class Hinge(Contest):
    """``a = max(0, 1 - r) + max(0, 1 + f)``, ``b = -f`` (Lim, Ye 2017, https://arxiv.org/abs/1705.02894)."""

    summary = "the critic separates data and samples by a margin (hinge)"
    formula = "min_D E max(0, 1 − D(x)) + E max(0, 1 + D(G(z))),  min_G −E D(G(z))"

    def critic(self, real: Tensor, fake: Tensor) -> Tensor:
        return F.relu(1 - real) + F.relu(1 + fake)

    def generator(self, real: Tensor, fake: Tensor) -> Tensor:
        return -fake

    def confidence(self, real: Tensor, fake: Tensor) -> Tensor:
        return torch.sign(real)


@final
@dataclass(frozen=True)
class Wasserstein(Contest):
    """``a = f - r + drift r^2``, ``b = -f``: the dual of the earth mover's distance, if ``D`` is 1-Lipschitz.

    Arjovsky, Chintala, Bottou 2017 (https://arxiv.org/abs/1701.07875). A small ``drift`` keeps ``D`` near 0, which
    nothing else does (Karras et al. 2018, https://arxiv.org/abs/1710.10196).
    """

    summary = "the critic measures the earth mover's distance between data and samples (Wasserstein)"
    formula = "min_D E D(G(z)) − E D(x),  min_G −E D(G(z))"
    saturates: ClassVar[bool] = False

    drift: float = 1e-3

    def critic(self, real: Tensor, fake: Tensor) -> Tensor:
        return fake - real + self.drift * real.square()

    def generator(self, real: Tensor, fake: Tensor) -> Tensor:
        return -fake

    def confidence(self, real: Tensor, fake: Tensor) -> Tensor:
        return torch.sign(real - fake)


# --- penalties: the restraint of the critic ---------------------------------------------------------------------------


class Penalty(ABC):
    """A function of the critic's gradient, added to its loss. Concrete penalties are frozen dataclasses."""

    @property
    def formula(self) -> str:
        """The penalty in one line."""
        return type(self).__name__

    @abstractmethod
    def __call__(self, critic: nn.Module, x: Tensor, fake: Tensor, cond: Tensor | None) -> Tensor:
        """The penalty of each pair of an example and a sample, ``(B,)``, differentiable in the critic's weights."""


@final
@dataclass(frozen=True)
class ZeroCentred(Penalty):
    """``gamma/2 (||grad D(x)||^2 + ||grad D(G(z))||^2)``: R1 and, unless ``samples`` is false, R2.

    Mescheder, Geiger, Nowozin 2018 (https://arxiv.org/abs/1801.04406).
    """

    @property
    def formula(self) -> str:
        at = "‖∇D(x)‖² + ‖∇D(G(z))‖²" if self.samples else "‖∇D(x)‖²"
        return f"{self.gamma / 2:g}·E[{at}]"

    gamma: float = 1.0
    samples: bool = True

    def __call__(self, critic: nn.Module, x: Tensor, fake: Tensor, cond: Tensor | None) -> Tensor:
        if self.gamma == 0:
            return x.new_zeros(len(x))
        if not self.samples:
            return self.gamma / 2 * gradient_penalty(critic, x, cond)
        labels = None if cond is None else torch.cat([cond, cond])
        r1, r2 = gradient_penalty(critic, torch.cat([x, fake]), labels).chunk(2)
        return self.gamma / 2 * (r1 + r2)


@final
@dataclass(frozen=True)
class UnitNorm(Penalty):
    """``weight (||grad D(u x + (1 - u) G(z))|| - 1)^2``, ``u ~ U[0, 1]``: between both, an optimal critic has slope 1.

    Gulrajani, Ahmed, Arjovsky, Dumoulin, Courville 2017 (https://arxiv.org/abs/1704.00028).
    """

    @property
    def formula(self) -> str:
        return f"{self.weight:g}·E[(‖∇D(ux + (1 − u)G(z))‖ − 1)²]"

    weight: float = 10.0

    def __call__(self, critic: nn.Module, x: Tensor, fake: Tensor, cond: Tensor | None) -> Tensor:
        u = torch.rand(len(x), *[1] * (x.ndim - 1), device=x.device)
        squared = gradient_penalty(critic, u * x + (1 - u) * fake, cond)
        return self.weight * ((squared + 1e-12).sqrt() - 1).square()


def gradient_penalty(critic: nn.Module, x: Tensor, cond: Tensor | None = None) -> Tensor:
    """``||grad_x D(x)||^2`` of each example, ``(B,)``, differentiable in the critic's parameters."""
    with torch.enable_grad():
        x = x.detach().requires_grad_()
        with twice_differentiable():
            y = critic(x, cond)
        (gradient,) = torch.autograd.grad(y.sum(), x, create_graph=True)
    return gradient.float().square().flatten(1).sum(1)


class Regulariser(Protocol):
    """A penalty on the generator, such as :class:`fourfold.paradigms.stylegan.PathLength`."""

    needs: ClassVar[type[Pushforward]]
    """The type of generators that it can regularise."""

    def __call__(self, generator: Any, z: Tensor, cond: Tensor | None) -> Tensor:
        """The penalty of each row of ``z``, ``(B,)``."""


# --- the objective ----------------------------------------------------------------------------------------------------


@final
class AdversarialGame(Objective):
    """The losses of a generator and a critic, which take steps in turn. Penalties are differentiated exactly.

    Args:
        critic: maps examples (and labels) to one number each, ``(B,)`` or ``(B, 1)``.
        contest: the losses.
        penalty: the penalty on the critic's gradient, or ``None``. With augmentation it is taken at the augmented
            images.
        every: the penalty is taken at every ``every``-th example of a batch and weighted accordingly, which keeps its
            expectation and divides its cost.
        label_dropout: share of labels that training hides, so that the model also learns to generate without one.
        critic_rate: multiplies the critic's learning rate (two time scales).
        augment: transforms data and samples before the critic sees them. Its strength follows the critic's accuracy.
        regulariser: a penalty on the generator, or ``None``.

    Raises:
        ValueError: for ``every`` below 1 or a ``critic_rate`` that is not positive.
    """

    learns: ClassVar[type[Estimand]] = Pushforward
    principle = Principle.ADVERSARIAL

    @property
    def summary(self) -> str:
        augmented = ", and sees augmented images" if self.augment is not None else ""
        return f"train a generator against a critic: {self.contest.summary}{augmented}"

    @property
    def formula(self) -> str:
        penalty = f";  penalty of D: {self.penalty.formula}" if self.penalty is not None else ""
        softplus = ",  ζ(t) = log(1 + eᵗ)" if "ζ" in self.contest.formula else ""
        return f"{self.contest.formula}{softplus}{penalty}"

    @property
    def avoids(self) -> tuple[str, ...]:
        return () if self.contest.saturates else ("saturated critic",)

    def __init__(
        self,
        critic: nn.Module,
        contest: Contest = Pairing(),
        penalty: Penalty | None = ZeroCentred(),
        every: int = 1,
        label_dropout: float = 0.1,
        critic_rate: float = 1.0,
        augment: Augment | None = None,
        regulariser: Regulariser | None = None,
    ) -> None:
        super().__init__()
        if every < 1 or critic_rate <= 0:
            raise ValueError(f"every must be at least 1 and critic_rate positive, got {every} and {critic_rate}")
        self.critic, self.contest, self.penalty, self.every = critic, contest, penalty, every
        self.label_dropout, self.critic_rate = label_dropout, critic_rate
        self.augment, self.regulariser = augment, regulariser

    def terms(self, estimand: Pushforward) -> Mapping[str, Term]:
        if self.regulariser is not None and not isinstance(estimand, self.regulariser.needs):
            raise TypeError(
                f"estimand must be a {self.regulariser.needs.__name__} for {type(self.regulariser).__name__}, "
                f"got {type(estimand).__name__}"
            )
        return {"critic": CriticTerm(estimand, self), "generator": GeneratorTerm(estimand, self)}

    def transformed(self, x: Tensor) -> Tensor:
        """Encoded examples as the critic sees them."""
        return x if self.augment is None else self.augment(x)

    def numbers(self, x: Tensor, fake: Tensor, cond: Tensor | None) -> tuple[Tensor, Tensor]:
        """``D(x)`` and ``D(fake)`` by one call of the critic. ``x`` may have fewer rows than ``fake``, even none."""
        labels = None if cond is None else torch.cat([cond[: len(x)], cond])
        real, false = self.critic(torch.cat([x, fake]), labels).reshape(-1).split([len(x), len(fake)])
        return real, false

    def generator_loss(self, x: Tensor, fake: Tensor, cond: Tensor | None) -> Tensor:
        """``b(D(x), D(fake))``, ``(B,)``. Only a paired loss evaluates ``D(x)``."""
        real = self.transformed(x) if self.contest.paired else x[:0]
        return self.contest.generator(*self.numbers(real, self.transformed(fake), cond))


@final
class CriticTerm(Term):
    """``a(D(x), D(G(z))) + penalty``, with a fixed generator.

    It watches ``critic_accuracy`` (share of correctly ranked pairs, if the contest saturates), ``critic_margin`` (mean
    ``D(x) - D(G(z))``), ``penalty`` (its mean) and, with augmentation, its strength ``augmentation``.
    """

    def __init__(self, generator: Pushforward, objective: AdversarialGame) -> None:
        super().__init__([objective.critic], objective.critic_rate)
        self.generator, self.objective = generator, objective

    def forward(self, batch: Batch) -> Tensor:
        game = self.objective
        cond = forgetful(batch.cond, game.label_dropout if self.training else 0.0)
        with torch.no_grad():
            z = torch.randn(len(batch.x), *self.generator.latent, device=batch.x.device)
            fake, x = game.transformed(self.generator(z, cond)), game.transformed(batch.x)
        real, false = game.numbers(x, fake, cond)
        penalty = self._penalty(x, fake, cond)
        margin = (real - false).detach()
        self.watched = {"critic_margin": margin.mean(), "penalty": penalty.detach().mean()}
        if game.contest.saturates:
            self.watched["critic_accuracy"] = (margin > 0).float().mean()
        if game.augment is not None:
            self.watched["augmentation"] = game.augment.p.clone()
            if self.training:
                game.augment.adapt(game.contest.confidence(real.detach(), false.detach()))
        return game.contest.critic(real, false) + penalty

    def _penalty(self, x: Tensor, fake: Tensor, cond: Tensor | None) -> Tensor:
        """The penalty at every ``every``-th pair, times the inverse of their share. 0 at the others, ``(B,)``."""
        game, n = self.objective, len(x)
        if game.penalty is None:
            return x.new_zeros(n)
        index = torch.arange(0, n, game.every, device=x.device)
        value = game.penalty(game.critic, x[index], fake[index], None if cond is None else cond[index])
        return x.new_zeros(n).index_add(0, index, value * (n / len(index)))


@final
class GeneratorTerm(Term):
    """``b(D(x), D(G(z)))`` and the regulariser, with a fixed critic. It watches ``diversity``."""

    def __init__(self, generator: Pushforward, objective: AdversarialGame) -> None:
        super().__init__([generator])
        self.generator, self.objective = generator, objective

    def forward(self, batch: Batch) -> Tensor:
        game = self.objective
        cond = forgetful(batch.cond, game.label_dropout if self.training else 0.0)
        z = torch.randn(len(batch.x), *self.generator.latent, device=batch.x.device)
        fake = self.generator(z, cond)
        self.watched = {"diversity": diversity(fake, batch.x)}
        loss = game.generator_loss(batch.x, fake, cond)
        return loss if game.regulariser is None else loss + game.regulariser(self.generator, z, cond)


def diversity(fake: Tensor, x: Tensor) -> Tensor:
    """The root of the total variance of a generated batch over that of the data, a scalar without a gradient.

    It is near 1 where samples spread like the data, and near 0 where they are all alike.
    """
    spread = [values.detach().var(0, correction=0).sum() for values in (fake, x)]
    return (spread[0] / spread[1].clamp(min=1e-12)).sqrt()


# --- sampling and likelihood ------------------------------------------------------------------------------------------


@final
@dataclass(frozen=True)
class OnePass(Sampler):
    """``z ~ N(0, I)``, ``x = g(z)``. ``truncation`` below 1 shrinks ``z``: fewer odd samples, less variety.

    Where ``g(z)`` is a distribution, such as that of a decoder, ``x`` is drawn from it.

    Truncation: Brock, Donahue, Simonyan 2019 (https://arxiv.org/abs/1809.11096), here by scaling.
    """

    needs: ClassVar[type[Estimand]] = Pushforward
    cost = Cost.CONSTANT
    truncation: float = 1.0

    @property
    def summary(self) -> str:
        shrunk = "" if self.truncation == 1 else f", shrunk by {self.truncation:g},"
        return f"draw noise{shrunk} and map it to an example, once"

    @property
    def formula(self) -> str:
        scale = "" if self.truncation == 1 else f"{self.truncation:g}·"
        return f"z ~ N(0, I),  x = G({scale}z)"

    def __call__(self, estimand: Pushforward, noise: Noise, cond: Tensor | None = None) -> Tensor:
        z = noise.normal(*estimand.latent)
        x = estimand(z if self.truncation == 1 else self.truncation * z, cond)
        return x.draw(noise) if isinstance(x, Observation) else x


NO_DENSITY = (
    "a generator defines no density: judge its samples by distances to held-out data "
    "(Frechet distance, precision and recall, coverage) instead"
)
"""The reason why these models have no likelihood."""
