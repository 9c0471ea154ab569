"""Markov chains that follow the gradient of an energy: Langevin, MALA, HMC, and annealing between distributions.

Every chain is one sample and has its own random numbers, acceptance and step size. So no sample depends on the others
that are drawn beside it.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import ClassVar, NamedTuple, final

import torch
from torch import Tensor

from fourfold.core import Estimand, Noise, Sampler
from fourfold.estimands import ContinuousEnergy, Energy, NoisedEnergy, Reference, TiltedReference
from fourfold.maths.paths import broadcast
from fourfold.samplers.chains import Chains
from fourfold.vocabulary import Cost

__all__ = [
    "HMC",
    "MALA",
    "Annealed",
    "Bridge",
    "Langevin",
    "MarkovChain",
    "Metropolis",
    "NoiseAnnealed",
    "State",
    "reference_of",
]

Potential = Callable[[Tensor], Tensor]
"""An energy with its labels bound: ``(B, *event)`` to ``(B,)``."""


class State(NamedTuple):
    """The states of chains, ``x`` of shape ``(B, *event)``, with their energy ``(B,)`` and its gradient."""

    x: Tensor
    energy: Tensor
    gradient: Tensor

    @classmethod
    @torch.enable_grad()
    def at(cls, energy: Potential, x: Tensor) -> State:
        """Evaluate an energy and its gradient, without leaving a graph."""
        x = x.detach().requires_grad_()
        value = energy(x)
        (gradient,) = torch.autograd.grad(value.sum(), x)
        return cls(x.detach(), value.detach(), gradient)

    def where(self, proposal: State, accept: Tensor) -> State:
        """The other state where ``accept``, ``(B,)``, is true, else this one."""
        wide = _wide(accept, self.x)
        energy = torch.where(accept, proposal.energy, self.energy)
        return State(torch.where(wide, proposal.x, self.x), energy, torch.where(wide, proposal.gradient, self.gradient))


def _wide(accept: Tensor, x: Tensor) -> Tensor:
    """``(B,)`` as ``(B, 1, ..., 1)``."""
    return accept.reshape(-1, *(1,) * (x.ndim - 1))


def _square(x: Tensor) -> Tensor:
    """``||x||^2`` of each example, ``(B,)``."""
    return x.flatten(1).square().sum(1)


def reference_of(energy: Energy, noise: Noise) -> Tensor:
    """Draws of an energy's reference distribution, ``(n, *event)``.

    Raises:
        TypeError: for an energy without one.
    """
    if getattr(energy, "reference", None) is None:
        raise TypeError(
            f"energy must have a reference distribution, got {type(energy).__name__}; give the chains a start"
        )
    return energy.reference.draw(noise)


class _Adaptation:
    """Dual averaging of each chain's log step size towards an acceptance probability (Nesterov 2009).

    With ``H_m`` the running mean of ``target - acceptance``, ``log h = mu - sqrt(m) / gamma H_m``. The final step size
    is the mean ``log h_bar`` with weights ``m^-kappa`` (Hoffman, Gelman 2014, section 3.2,
    https://arxiv.org/abs/1111.4246).

    Args:
        step: first step size of each chain, ``(B,)``.
        target: the desired acceptance probability.
    """

    def __init__(self, step: Tensor, target: float) -> None:
        self.mu, self.target = torch.log(10 * step), target
        self.mean, self.log_bar, self.m = torch.zeros_like(step), step.log(), 0

    def __call__(self, acceptance: Tensor) -> Tensor:
        """The step size to try next, ``(B,)``."""
        self.m += 1
        rate = 1 / (self.m + 10)
        self.mean = (1 - rate) * self.mean + rate * (self.target - acceptance)
        log_step = self.mu - math.sqrt(self.m) / 0.05 * self.mean
        weight = self.m**-0.75
        self.log_bar = weight * log_step + (1 - weight) * self.log_bar
        return log_step.exp()

    @property
    def final(self) -> Tensor:
        """The averaged step size, ``(B,)``."""
        return self.log_bar.exp()


@dataclass(frozen=True)
class MarkovChain(Sampler):
    """Markov chains that start at the reference of an energy, or at states given to :meth:`run`.

    Attributes:
        steps: number of moves after the warm-up. The last state is the sample.
        step_size: size of a move, or of the first move where it is adapted.
        warmup: number of moves before the recorded ones. During these a :class:`Metropolis` kernel adapts its step
            size.

    Raises:
        ValueError: for fewer than one step, a step size that is not positive, or a negative warm-up.
    """

    needs: ClassVar[type[Estimand]] = ContinuousEnergy
    cost = Cost.CHAIN
    steps: int = 200
    step_size: float = 0.1
    warmup: int = 0

    @property
    def title(self) -> str:
        """The kind of move, in plain English."""
        return type(self).__name__

    @property
    @final
    def summary(self) -> str:
        return f"draw from the reference distribution and run a Markov chain of {self.steps} moves ({self.title})"

    def __post_init__(self) -> None:
        """Refuse settings without a step or with a step size that is not positive."""
        if self.steps < 1 or self.warmup < 0 or not self.step_size > 0:
            raise ValueError(
                f"steps must be at least 1, step_size positive and warmup at least 0, got {self.steps}, "
                f"{self.step_size} and {self.warmup}"
            )

    @abstractmethod
    def move(self, energy: Potential, state: State, step: Tensor, noise: Noise) -> tuple[State, Tensor]:
        """One move of every chain with its step size ``(B,)``: the next state and the acceptance probability."""

    @final
    def __call__(self, estimand: Energy, noise: Noise, cond: Tensor | None = None) -> Tensor:
        return self.run(estimand, noise, cond).x

    @final
    def run(
        self,
        energy: Energy,
        noise: Noise,
        cond: Tensor | None = None,
        start: Tensor | None = None,
        step_size: Tensor | None = None,
        keep: int = 0,
    ) -> Chains:
        """Run the chains, and keep the records that diagnose them.

        Args:
            energy: the energy of the distribution that the chains sample.
            noise: the chains' random numbers. One chain for each of its indices.
            cond: labels ``(B,)``.
            start: first states ``(B, *event)``. By default draws of the reference.
            step_size: the step size of each chain, ``(B,)``, instead of the setting.
            keep: keep every ``keep``-th state after the warm-up. 0 keeps none.
        """
        x = reference_of(energy, noise) if start is None else start
        step = x.new_full((len(x),), self.step_size) if step_size is None else step_size
        state, potential = State.at(lambda z: energy(z, cond), x), lambda z: energy(z, cond)
        if self.warmup:
            state, step = self._warm(potential, state, step, noise)
        return self._record(potential, state, step, noise, keep)

    def _warm(self, energy: Potential, state: State, step: Tensor, noise: Noise) -> tuple[State, Tensor]:
        adaptation = _Adaptation(step, self.target) if isinstance(self, Metropolis) else None
        for _ in range(self.warmup):
            state, acceptance = self.move(energy, state, step, noise)
            step = step if adaptation is None else adaptation(acceptance)
        return state, step if adaptation is None else adaptation.final

    def _record(self, energy: Potential, state: State, step: Tensor, noise: Noise, keep: int) -> Chains:
        total, energies, states = torch.zeros_like(step), [], []
        for i in range(self.steps):
            state, acceptance = self.move(energy, state, step, noise)
            total += acceptance
            energies.append(state.energy)
            if keep and (i + 1) % keep == 0:
                states.append(state.x.flatten(1))
        trace = torch.stack(states, 1) if states else state.x.flatten(1)[:, None][:, :0]
        return Chains(state.x, state.energy, total / self.steps, step, torch.stack(energies, 1), trace)


class Metropolis(MarkovChain):
    """A chain that accepts or rejects each move, so that it leaves ``exp(-E)`` invariant for any step size.

    ``target`` is the acceptance probability to which each chain adapts its step size while it warms up.
    """

    target: ClassVar[float]


def _langevin(state: State, h: Tensor, heat: Tensor, eps: Tensor) -> Tensor:
    """``x - h grad E(x) + sqrt(2 heat) eps``."""
    return torch.addcmul(state.x, h, state.gradient, value=-1).addcmul_((2 * heat).sqrt(), eps)


def _accepted(log_ratio: Tensor, noise: Noise) -> tuple[Tensor, Tensor]:
    """The Metropolis-Hastings rule, ``log u < log_ratio``, and its probability. A ratio not finite is rejected."""
    acceptance = torch.nan_to_num(log_ratio, -math.inf, -math.inf, -math.inf).clamp_(max=0).exp_()
    return noise.uniform() < acceptance, acceptance


def _decided(state: State, proposal: State, log_ratio: Tensor, noise: Noise) -> tuple[State, Tensor]:
    """The proposal where it is accepted, and the probability of that."""
    accept, acceptance = _accepted(log_ratio, noise)
    return state.where(proposal, accept), acceptance


@final
@dataclass(frozen=True)
class Langevin(MarkovChain):
    """``x <- x - h grad E(x) + sqrt(2 h T) eps``, unadjusted: cheap, but biased by the step size.

    At ``T = 1`` it is the discretised Langevin diffusion (Roberts, Tweedie 1996, https://doi.org/10.2307/3318418).
    Training on images often takes ``T`` far below 1 (Nijkamp et al. 2020, https://arxiv.org/abs/1903.12370).

    Attributes:
        temperature: ``T``.
    """

    formula = "x ← x − η·∇E_θ(x) + √(2ηT)·ε"
    temperature: float = 1.0

    @property
    def title(self) -> str:
        cold = f", at temperature {self.temperature:g}, which is not the energy's own" if self.temperature != 1 else ""
        return f"Langevin, unadjusted{cold}"

    def move(self, energy: Potential, state: State, step: Tensor, noise: Noise) -> tuple[State, Tensor]:
        h = broadcast(step, state.x)
        eps = noise.normal(*state.x.shape[1:])
        return State.at(energy, _langevin(state, h, h * self.temperature, eps)), torch.ones_like(step)


@final
@dataclass(frozen=True)
class MALA(Metropolis):
    """A Langevin step as a proposal, accepted by the Metropolis-Hastings rule, which removes its bias.

    ``log r = E(x) - E(y) + (||y - x + h grad E(x)||^2 - ||x - y + h grad E(y)||^2) / 4h``. The optimal acceptance in
    many dimensions is 0.574 (Roberts, Rosenthal 1998, https://doi.org/10.1111/1467-9868.00123).
    """

    target: ClassVar[float] = 0.574
    formula = "y = x − η·∇E_θ(x) + √(2η)·ε,  accepted by the Metropolis-Hastings rule"

    def move(self, energy: Potential, state: State, step: Tensor, noise: Noise) -> tuple[State, Tensor]:
        h, eps = broadcast(step, state.x), noise.normal(*state.x.shape[1:])
        proposal = State.at(energy, _langevin(state, h, h, eps))
        back = torch.addcmul(state.x - proposal.x, h, proposal.gradient)
        log_ratio = state.energy - proposal.energy + _square(eps) / 2 - _square(back) / (4 * step)
        return _decided(state, proposal, log_ratio, noise)


@final
@dataclass(frozen=True)
class HMC(Metropolis):
    """Hamiltonian Monte Carlo: ``leaps`` leapfrog steps from a fresh momentum, accepted by the change of energy.

    ``p <- p - h/2 grad E(x), x <- x + h p, p <- p - h/2 grad E(x)`` and ``log r = E(x) + |p|^2/2 - E(x') - |p'|^2/2``
    (Duane et al. 1987; Neal 2011, https://arxiv.org/abs/1206.1901); the optimal acceptance in many dimensions is 0.651.

    Attributes:
        leaps: leapfrog steps of a move, each with one evaluation.
    """

    target: ClassVar[float] = 0.651
    formula = "p ← p − η/2·∇E_θ(x),  x ← x + η p,  p ← p − η/2·∇E_θ(x),  accepted by the Metropolis-Hastings rule"
    leaps: int = 8

    def move(self, energy: Potential, state: State, step: Tensor, noise: Noise) -> tuple[State, Tensor]:
        h, p = broadcast(step, state.x), noise.normal(*state.x.shape[1:])
        before, new = state.energy + _square(p) / 2, state
        for _ in range(self.leaps):
            p = p - h / 2 * new.gradient
            new = State.at(energy, new.x + h * p)
            p = p - h / 2 * new.gradient
        return _decided(state, new, before - new.energy - _square(p) / 2, noise)


# --- annealing --------------------------------------------------------------------------------------------------------


@final
class Bridge(TiltedReference):
    """``E_b(x) = (1 - b) (-log q(x)) + b E(x)``: from an energy's reference ``q``, ``b = 0``, to itself, ``b = 1``.

    Args:
        energy: an energy with a reference.
        b: inverse temperature, from 0 to 1.
        reference: ``q``, by default that of the energy. One :meth:`~Reference.at_rest` saves time.
    """

    def __init__(self, energy: Energy, b: float, reference: Reference | None = None) -> None:
        super().__init__()
        self.energy, self.b, self.event = energy, b, energy.event
        self.reference = energy.reference if reference is None else reference

    def tilt(self, x: Tensor, cond: Tensor | None = None) -> Tensor:
        if isinstance(self.energy, TiltedReference):
            return self.b * self.energy.tilt(x, cond)
        return -self.b * (self.energy(x, cond) + self.reference.log_prob(x))


@final
@dataclass(frozen=True)
class Annealed(Sampler):
    """From the reference through bridging distributions to the energy, a few moves at each, then a chain at the end.

    Annealing towards temperature 1 (Neal 2001, https://arxiv.org/abs/physics/9803008) distributes chains over the modes
    while the distribution is still broad. A chain at temperature 1 alone would take exponentially long. The modes keep
    the shares that they have at the temperature at which chains cease to cross. Jumps correct this where the reference
    overlaps with the modes, as it does in few dimensions: a fresh draw ``y`` of the reference is accepted with
    probability ``min(1, exp(E_b(x) - E_b(y)) q(x) / q(y))`` (the independence sampler: Tierney 1994,
    https://doi.org/10.1214/aos/1176325750). The step sizes of a :class:`Metropolis` kernel follow the acceptance of
    earlier moves.

    Attributes:
        chain: the moves. Its ``steps`` after its ``warmup`` end the run at temperature 1.
        temperatures: bridging distributions, ``b = (k / temperatures)^power``.
        moves: number of moves at each of them, and at temperature 1 before the chain.
        jumps: number of jumps after the moves of each temperature.
        power: above 1 puts more of them near the reference.
    """

    needs: ClassVar[type[Estimand]] = ContinuousEnergy
    cost = Cost.CHAIN
    chain: MarkovChain = MALA(steps=50)
    temperatures: int = 50
    moves: int = 2
    jumps: int = 0
    power: float = 1.0

    @property
    def summary(self) -> str:
        jumps = ", some of which jump to a fresh draw of the reference" if self.jumps else ""
        return (
            f"draw from the reference distribution, anneal to the energy over {self.temperatures} temperatures, and end"
            f" with {self.chain.steps} moves of a Markov chain ({self.chain.title}){jumps}"
        )

    @property
    def formula(self) -> str:
        return f"E_b = −(1 − b)·log q + b·E_θ,  b from 0 to 1;  {self.chain.formula}"

    def __call__(self, estimand: Energy, noise: Noise, cond: Tensor | None = None) -> Tensor:
        return self.run(estimand, noise, cond).x

    def run(self, energy: Energy, noise: Noise, cond: Tensor | None = None, keep: int = 0) -> Chains:
        """Anneal, then record the chain at temperature 1. See :meth:`MarkovChain.run`.

        With ``keep`` above 0 the result also holds the start and the states at each temperature.
        """
        x = reference_of(energy, noise)
        step, reference = x.new_full((len(x),), self.chain.step_size), energy.reference.at_rest()
        earlier = [x.flatten(1)]
        for b in self.ladder:
            x, step = self._rung(Bridge(energy, b, reference), x, step, noise, cond)
            earlier += [x.flatten(1)] if keep else []
        chains = self.chain.run(Bridge(energy, 1.0, reference), noise, cond, x, step, keep)
        return replace(chains, earlier=torch.stack(earlier, 1)) if keep else chains

    @property
    def ladder(self) -> list[float]:
        """The inverse temperatures ``b`` from the reference to 1, in order."""
        return [(k / self.temperatures) ** self.power for k in range(1, self.temperatures + 1)]

    def _rung(
        self, bridge: Bridge, x: Tensor, step: Tensor, noise: Noise, cond: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """The moves at one temperature. ``log h`` grows by a quarter of the acceptance's excess over the target."""

        def energy(z: Tensor) -> Tensor:
            return bridge(z, cond)

        state = State.at(energy, x)
        for _ in range(self.moves):
            state, acceptance = self.chain.move(energy, state, step, noise)
            if isinstance(self.chain, Metropolis):
                step = step * (0.25 * (acceptance - self.chain.target)).exp()
        return _jumped(bridge, state, noise, cond, self.jumps), step


@torch.no_grad()
def _jumped(bridge: Bridge, state: State, noise: Noise, cond: Tensor | None, jumps: int) -> Tensor:
    """The states after Metropolis-Hastings moves that propose fresh draws of the reference. They need no gradient."""
    x = state.x
    if not jumps:
        return x
    tilt = -state.energy - bridge.reference.log_prob(x)
    for _ in range(jumps):
        y = bridge.reference.draw(noise)
        proposed = bridge.tilt(y, cond)
        accept, _ = _accepted(proposed - tilt, noise)
        x, tilt = torch.where(_wide(accept, x), y, x), torch.where(accept, proposed, tilt)
    return x


@final
@dataclass(frozen=True)
class NoiseAnnealed(Sampler):
    """From noise to data through the noise levels of an energy's path, a few moves of a chain at each.

    Between two noise levels ``t -> s`` the example moves by ``q(x_s | x_t, x_0 = D)`` where ``D = (x_t - sigma^2 grad
    E) / alpha``, and at every noise level the chain corrects the remaining error, with steps of ``step_size sigma_t^2``
    (Song, Ermon 2019, https://arxiv.org/abs/1907.05600; an energy also allows the Metropolis rule: Du et al. 2023,
    https://arxiv.org/abs/2302.11552).

    Attributes:
        chain: the moves. Its ``step_size`` is in units of ``sigma_t^2``, its ``steps`` are those at the last level,
            and its ``warmup`` is not used.
        levels: noise levels.
        moves: moves of the chain at each level. 0 is ancestral sampling, at half the evaluations of 1.
        clean: end at ``E[x_0 | x]`` instead of at ``x``, which still has the noise of the last level.
    """

    needs: ClassVar[type[Estimand]] = NoisedEnergy
    chain: MarkovChain = Langevin(steps=1, step_size=0.1)
    levels: int = 50
    moves: int = 1
    clean: bool = False

    @property
    def summary(self) -> str:
        towards = "each step towards what the energy's gradient denoises"
        walk = f"draw noise and step down {self.levels} noise levels, {towards}"
        chain = f", with {self.moves} moves of a Markov chain ({self.chain.title}) at each level"
        last = f", then {self.chain.steps} moves of a Markov chain ({self.chain.title}) at the last"
        end = "; end at the denoised example" if self.clean else ""
        return walk + (chain if self.moves else " (ancestral sampling)") + (last if self.chain.steps > 1 else "") + end

    @property
    def formula(self) -> str:
        moves = f";  {self.chain.formula}" if self.moves else ""
        return f"x_s ~ q(x_s | x_t, D),  D = (x_t − σ_t²·∇E_θ(x_t, t)) / α_t{moves}"

    @property
    def cost(self) -> Cost:
        return Cost.CHAIN if self.moves else Cost.STEPS

    def __call__(self, estimand: NoisedEnergy, noise: Noise, cond: Tensor | None = None) -> Tensor:
        x = self.run(estimand, noise, cond).x
        if not self.clean:
            return x
        path, t = estimand.path, torch.tensor(estimand.path.t_min, dtype=torch.float64)
        state = State.at(lambda z: estimand(z, cond), x)
        return (x - float(path.sigma(t)) ** 2 * state.gradient) / float(path.alpha(t))

    def run(self, energy: NoisedEnergy, noise: Noise, cond: Tensor | None = None, keep: int = 0) -> Chains:
        """Anneal, then record the chain at the last level. See :meth:`MarkovChain.run`."""
        path, grid = energy.path, energy.path.grid(self.levels)
        alphas, sigmas = path.alpha(grid).tolist(), path.sigma(grid).tolist()
        x = noise.normal(*energy.event) * sigmas[0]
        for i, t in enumerate(grid.tolist()[:-1]):
            state = self._level(energy, x, t, sigmas[i], noise, cond)
            x = _ancestral(state, (alphas[i], sigmas[i]), (alphas[i + 1], sigmas[i + 1]), noise)
        last = max(sigmas[-1], 1e-4)
        step = x.new_full((len(x),), self.chain.step_size * last**2)
        return replace(self.chain, warmup=0).run(energy, noise, cond, x, step, keep)

    def _level(
        self, energy: NoisedEnergy, x: Tensor, t: float, sigma: float, noise: Noise, cond: Tensor | None
    ) -> State:
        """The moves at one noise level."""
        time, step = x.new_full((len(x),), t), x.new_full((len(x),), self.chain.step_size * sigma**2)

        def at(z: Tensor) -> Tensor:
            return energy.at(z, time, cond)

        state = State.at(at, x)
        for _ in range(self.moves):
            state, _ = self.chain.move(at, state, step, noise)
        return state


def _ancestral(state: State, t: tuple[float, float], s: tuple[float, float], noise: Noise) -> Tensor:
    """A draw of ``q(x_s | x_t, x_0 = D)`` for ``t`` and ``s`` as ``(alpha, sigma)``, ``(B, *event)``."""
    (a_t, s_t), (a_s, s_s) = t, s
    ratio = a_t / a_s
    variance = max(s_t**2 - (ratio * s_s) ** 2, 0.0)
    x_0 = (state.x - s_t**2 * state.gradient) / a_t
    mean = ratio * (s_s / s_t) ** 2 * state.x + a_s * variance / s_t**2 * x_0
    return mean + s_s * math.sqrt(variance) / s_t * noise.normal(*state.x.shape[1:])
