"""Checks of samplers: seeds, batches, cost and order."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import cast, final

import torch
from torch import Tensor

from fourfold.checks.base import CheckFailed, require, some_condition
from fourfold.core import Estimand, GenerativeModel, Noise, Sampler, count_evaluations, view
from fourfold.core.evaluations import evaluating
from fourfold.data.oracles import SolvedDenoiser
from fourfold.maths.paths import Path
from fourfold.samplers.ode import order_on
from fourfold.vocabulary import Cost

__all__ = [
    "NotAffine",
    "check_batch_split",
    "check_cost",
    "check_evaluations",
    "check_order",
    "check_samples",
    "check_seeds",
    "double",
    "moments",
]


def check_samples(model: GenerativeModel, n: int = 5) -> None:
    """Samples belong to the space, conditional ones too, and a foreign label is refused.

    Raises:
        CheckFailed: for samples outside the space, or an accepted foreign label.
    """
    for cond in (None, some_condition(model)):
        x = model.sample(n, cond=cond)
        require(
            x.shape == (n, *model.space.shape), f"samples have shape {tuple(x.shape)}, not {(n, *model.space.shape)}"
        )
        model.space.check(x)
    given = model.space.given
    foreign = len(given.names) if given is not None and given.names else torch.zeros(2, 3, 4, 5, 6)
    try:
        model.sample(1, cond=foreign)
    except ValueError:
        return
    raise CheckFailed("a condition that the space does not have was accepted")


def check_seeds(model: GenerativeModel) -> None:
    """One seed gives the same samples again, another seed gives others, and torch's own generator is not consulted."""
    before = torch.get_rng_state()
    first, again, another_seed = model.sample(4, seed=1), model.sample(4, seed=1), model.sample(4, seed=2)
    require(torch.equal(torch.get_rng_state(), before), "sampling consulted torch's global generator")
    require(torch.equal(first, again), "the same seed gave different samples")
    require(not torch.equal(first, another_seed), "another seed gave the same samples")


def check_batch_split(model: GenerativeModel, n: int = 70) -> None:
    """Sample *i* is the same whatever n, the batch size and where the series is cut, to floating-point tolerance.

    Discrete samples may differ by 1 in a rounding tie, and all by a thousandth. At most 1 value in 1,000 may do
    more. Where decoding enlarges rounding errors, the codes are compared, by the same bound.
    """
    draw = _codes_of if model.codec.sensitive else GenerativeModel.sample
    whole = draw(model, n, batch_size=128)
    parts = torch.cat([draw(model, 10, batch_size=64), draw(model, n - 10, start=10, batch_size=64)])
    gap = (whole.double() - parts.double()).abs()
    tie = 0.0 if whole.is_floating_point() else 1.0
    far = (gap > tie + 1e-3 * (1 + whole.double().abs())).double().mean().item()
    require(far <= 1e-3, f"{far:.2%} of the values change when the same samples are drawn in other batches")


def _codes_of(model: GenerativeModel, n: int, batch_size: int, start: int = 0) -> Tensor:
    """The codes of samples ``start .. start + n``, in the batches of :meth:`GenerativeModel.sample`."""
    estimand, parts = view(model.estimand, model.sampler.needs), []
    with torch.no_grad(), evaluating(model):
        for first in range(start // batch_size * batch_size, start + n, batch_size):
            noise = Noise(0, max(first, start), min(first + batch_size, start + n), device=model.device)
            parts.append(model.sampler(estimand, noise, None))
    return torch.cat(parts)


def check_evaluations(model: GenerativeModel, cost: Cost, n: int = 8) -> None:
    """The counted network evaluations of one sample, on average over ``n``, obey the cost law of the paradigm."""
    with count_evaluations(model.estimand) as count:
        model.sample(n, cond=some_condition(model))
    rows = count.rows / n
    lengths = {
        Cost.CONSTANT: (1.0, 1.0),
        Cost.LENGTH: (1.0, 2.0 * model.space.dims + 1),
        Cost.STEPS: (2.0, 1000.0),
        Cost.CHAIN: (2.0, 1e6),
    }
    low, high = lengths[cost]
    require(
        low <= rows <= high, f"{rows:g} network evaluations per sample; the law '{cost}' allows {low:g} to {high:g}"
    )


def check_cost(model: GenerativeModel) -> None:
    """Check the evaluations against the cost law of :attr:`fourfold.core.GenerativeModel.facts`."""
    check_evaluations(model, model.facts.cost)


def check_order(
    sampler: type[Sampler],
    make: Callable[[int], Sampler],
    oracle: SolvedDenoiser,
    steps: Sequence[int] = (16, 32, 64, 128),
) -> None:
    """The error of a sampler on an exact denoiser falls with the power of the step size that it declares.

    For a solver of the ODE, which declares ``order``, it is the error of samples from given noise against the end of
    the ODE, which :meth:`~fourfold.data.oracles.SolvedDenoiser.solved` computes by other means, so that a bias is seen.
    The order is expected up to the ``highest_order`` of the oracle's path.

    For a sampler that adds noise, which declares ``weak_order``, it is the error of the mean and the covariance of all
    samples. They are computed, not estimated: the oracle must be of a Gaussian, so that a sample is an affine function
    of the noise. The limit is that of the same sampler with ``16^(1/p)`` times the finest number of steps. It must be
    the distribution of the data itself to within 2 % of its scale, which covers the error of a start at
    ``N(0, sigma_T^2)``.

    The slope of log error against log steps, by regression in float64, may fall short of the order ``p`` by 0.4 and
    exceed it by 1.

    Args:
        sampler: the class.
        make: builds it for a number of steps.
        oracle: an exact denoiser.
        steps: numbers of steps.

    Raises:
        CheckFailed: for a sampler that declares no order, or whose error falls at another rate.
    """
    weak = getattr(make(steps[0]), "weak_order", None)
    order = order_on(make(steps[0]), oracle.path) if weak is None else min(weak, oracle.path.highest_order)
    if order is None:
        raise CheckFailed(f"{sampler.__name__} declares no order")
    estimand = view(oracle, sampler.needs)
    result = _samples if weak is None else _moments
    with torch.no_grad(), double():
        results = [result(make(n), estimand) for n in steps]
        exact = _end(oracle) if weak is None else _limit(make(math.ceil(16 ** (1 / order) * max(steps))), oracle)
    errors = torch.stack([(x - exact).norm() for x in results]).double()
    x, y = torch.log(torch.tensor(steps, dtype=torch.float64)), torch.log(errors)
    slope = float(((x - x.mean()) * (y - y.mean())).sum() / ((x - x.mean()) ** 2).sum())
    require(
        -order - 1 < slope < -order + 0.4,
        f"{sampler.__name__} on {type(oracle.path).__name__}: error slope {slope:.2f}, "
        f"expected {'order' if weak is None else 'weak order'} {order}",
    )


def _end(oracle: SolvedDenoiser) -> Tensor:
    """The end of the ODE from the 32 starts of :func:`_samples`."""
    return oracle.solved(Noise(0, 0, 32).normal(*oracle.event) * _last_sigma(oracle.path))


def _limit(finest: Sampler, oracle: SolvedDenoiser) -> Tensor:
    """Mean and covariance of a sampler with many steps, which must be those at the end of the ODE."""
    limit = _moments(finest, view(oracle, finest.needs))
    starts = torch.cat([torch.zeros(1, *oracle.event), _last_sigma(oracle.path) * torch.eye(*oracle.event)])
    ends = oracle.solved(starts)
    columns = ends[1:] - ends[0]
    gap = limit - torch.cat([ends[0], (columns.T @ columns).flatten()])
    require(
        bool(gap.norm() < 0.02 * limit.norm()),
        f"{type(finest).__name__} on {type(oracle.path).__name__}: mean and covariance tend to what is off by "
        f"{float(gap.norm() / limit.norm()):.1%}",
    )
    return limit


def _last_sigma(path: Path) -> float:
    return float(path.sigma(torch.tensor(path.t_max, dtype=torch.float64)))


@contextmanager
def double() -> Iterator[None]:
    """Inside, random draws and sums are in float64."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


def _samples(sampler: Sampler, estimand: Estimand) -> Tensor:
    """Samples of an ODE from 32 starts."""
    return sampler(estimand, Noise(0, 0, 32))


def moments(sampler: Sampler, estimand: Estimand) -> tuple[Tensor, Tensor]:
    """The mean, ``(D,)``, and covariance, ``(D, D)``, of the samples of a stochastic sampler, without drawing any.

    With the estimand of a Gaussian a sample is ``b + sum_k A_k z_k`` in its normal draws ``z_k``. One row is run with
    all draws zero, which gives ``b``, and one for each number drawn with that number 1, which gives the columns of
    ``A_k``. Where there are more draws than was guessed from the number of steps, all are run again.

    Args:
        sampler: a sampler whose coefficients depend on settings, not on states.
        estimand: an estimand that is affine in its input, such as that of a Gaussian.
    """
    dim = math.prod(estimand.event)
    streams, draws = 1 + getattr(sampler, "steps", 0) * hasattr(sampler, "weak_order"), 0
    while draws < streams:
        draws = streams
        noise = _Impulses(1 + draws * dim)
        rows = sampler(estimand, cast("Noise", noise)).flatten(1)
        streams = noise.draws
    columns = rows[1:] - rows[0]
    return rows[0], columns.T @ columns


def _moments(sampler: Sampler, estimand: Estimand) -> Tensor:
    """Mean and covariance in one vector."""
    mean, covariance = moments(sampler, estimand)
    return torch.cat([mean, covariance.flatten()])


class NotAffine(Exception):  # noqa: N818 (it says what the sampler is)
    """A sampler draws uniform numbers, so its samples are not an affine function of normal ones."""


@final
class _Impulses:
    """A stand-in for :class:`~fourfold.core.Noise`: each row but the first has a single 1 among all its draws."""

    def __init__(self, rows: int) -> None:
        self.start, self.stop, self.device, self.draws = 0, rows, "cpu", 0

    def __len__(self) -> int:
        return self.stop

    def normal(self, *event: int) -> Tensor:
        """The next draw, ``(rows, *event)``."""
        dim = math.prod(event)
        z = torch.zeros(self.stop, dim)
        first = 1 + self.draws * dim
        z[first : first + dim].fill_diagonal_(1.0)
        self.draws += 1
        return z.reshape(self.stop, *event)

    def uniform(self, *event: int) -> Tensor:
        """Refused."""
        raise NotAffine
