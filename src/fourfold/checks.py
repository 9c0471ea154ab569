"""Conformance checks: what any model, of this library or a third party's, can run on itself.

Each check takes the thing it tests, returns nothing, and raises :class:`CheckFailed` with what was expected and what
was
found. ``tests/test_contract.py`` runs them on everything the walk finds; a third-party paradigm runs the same:

    from fourfold import build, checks, Vectors
    checks.check_model(build("mine", Vectors(2), "xs"))
"""

from __future__ import annotations

import copy
import dataclasses
import importlib
import itertools
import math
import os
import pkgutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path as FilePath
from typing import TYPE_CHECKING, Any, TypeVar, cast, final

import torch
from torch import Tensor, nn

import fourfold.paradigms
import fourfold.samplers
from fourfold.core import (
    Batch,
    Estimand,
    GenerativeModel,
    Likelihood,
    LogProb,
    Noise,
    Objective,
    Picture,
    Sampler,
    Space,
    Term,
    classes,
    configuration,
    construct,
    count_evaluations,
    view,
)
from fourfold.data.oracles import (
    GaussianAverage,
    GaussianConditionals,
    GaussianDenoiser,
    GaussianEnergy,
    GaussianFlow,
    GaussianNoisedEnergy,
    GaussianTransport,
    SolvedDenoiser,
)
from fourfold.estimands import (
    AverageVelocity,
    Conditionals,
    ConsistencyFunction,
    ContinuousEnergy,
    Decoder,
    Denoiser,
    NoisedEnergy,
    NoisePredictor,
    Pushforward,
    Score,
    VectorField,
    Velocity,
)
from fourfold.paths import Path
from fourfold.spaces import Vectors
from fourfold.vocabulary import Cost, Kind

if TYPE_CHECKING:
    from fourfold.engine.loop import Loop

__all__ = [
    "CheckFailed",
    "check_batch_split",
    "check_configuration",
    "check_cost",
    "check_evaluations",
    "check_gradients",
    "check_integrates",
    "check_known_density",
    "check_likelihood",
    "check_loss",
    "check_model",
    "check_order",
    "check_ranks",
    "check_resume",
    "check_samplers_agree",
    "check_samples",
    "check_saved",
    "check_seeds",
    "check_space",
    "check_stationary",
    "check_views",
    "check_watching",
    "moments",
    "raw_examples",
]


class CheckFailed(AssertionError):  # noqa: N818 (a failed check is what it is)
    """A promise of the library does not hold for what was checked."""


def _require(holds: bool, message: str) -> None:
    if not holds:
        raise CheckFailed(message)


def raw_examples(model: GenerativeModel, n: int = 16, seed: int = 0) -> tuple[Tensor, Tensor | None]:
    """Random raw examples of a model's space, and labels or captions where it has them: input for the checks."""
    generator, space = torch.Generator().manual_seed(seed), model.space
    x = space.examples(n, generator)
    if space.caption is not None:
        return x, _random_captions(n, space.caption, generator)
    labels = None if space.classes is None else torch.randint(space.classes, (n,), generator=generator)
    return x, labels


def _random_captions(n: int, length: int, generator: torch.Generator) -> Tensor:
    """Lower-case letters of random number as captions, ``(n, length)``."""
    letters = torch.randint(ord("a"), ord("z") + 1, (n, length), generator=generator)
    used = torch.randint(1, length + 1, (n, 1), generator=generator)
    return torch.where(torch.arange(length) < used, letters, -1)


def _some_label(model: GenerativeModel) -> int | str | None:
    if model.space.caption is not None:
        return "a red heart"[: model.space.caption]
    return None if model.space.classes is None else 0


# --- spaces -----------------------------------------------------------------------------------------------------------


def check_space(space: Space, n: int = 64) -> None:
    """A space accepts its own examples, is rebuilt from its configuration, and reads, writes and measures them.

    A space without measures passes too; models of it are only trained, sampled and scored.

    Args:
        space: what is tested.
        n: examples that are measured and written.
    """
    x, again = (space.examples(4 * n, torch.Generator().manual_seed(0)) for _ in range(2))
    _require(x.shape == (4 * n, *space.shape), f"examples have shape {tuple(x.shape)}, not {(4 * n, *space.shape)}")
    _require(torch.equal(x, again), "one generator gave other examples the second time")
    space.check(x)
    _refuses(space.check, x.unsqueeze(1), f"a batch of shape {tuple(x.unsqueeze(1).shape)}")
    _require(construct(configuration(space)) == space, "the space changes in a round trip of its configuration")
    bare = space.conditioned()
    _require(not bare.conditional and bare.fits(space), f"without conditions it is {bare!r}")
    LogProb(torch.zeros(1), Kind.EXACT, space.dims).in_unit(space.unit)
    raw = x if space.window is None else x.flatten()
    _require(torch.equal(space.rows(raw), x), "the rows of a raw set are not its examples")
    _require(
        torch.equal(space.conform(raw), raw) and torch.equal(space.conform(raw, bare), raw), "conform changes examples"
    )
    _check_files(space, x[:n])
    _require(isinstance(space.picture(x[:n]), Picture), "picture returns neither a Sheet nor a Cloud nor Excerpts")
    if type(space).measures is not Space.measures:
        _check_measures(space, raw, x, n)


def _refuses(check: Callable[[Tensor], None], x: Tensor, what: str) -> None:
    with suppress(ValueError):
        check(x)
        raise CheckFailed(f"{what} was accepted")


def _check_files(space: Space, x: Tensor) -> None:
    """Every format that the space has is written, and an array and a table of vectors are read as they were."""
    from fourfold.data import read_all
    from fourfold.data.writers import as_lines, write_examples

    with tempfile.TemporaryDirectory() as folder:
        for suffix in (".npy", ".npz", ".csv", ".parquet", *space.writers()):
            path = write_examples(FilePath(folder) / f"examples{suffix}", x, space)
            _require(path.exists(), f"nothing was written as {suffix or 'a folder'}")
            vectors = len(space.shape) == 1 and suffix in (".csv", ".parquet")
            if space.window is None and (vectors or suffix in (".npy", ".npz")):
                found = read_all(path, space)[0].x
                _require(found.dtype == x.dtype and torch.allclose(found, x), f"{suffix} is not read as it was written")
    _require(bool(as_lines(x[:2], space)), "nothing is written to standard output")


def _check_measures(space: Space, raw: Tensor, x: Tensor, n: int) -> None:
    """Each has a name and a finite value; a feature space that does not exist is refused before any measurement."""
    from fourfold.metrics import References, choose_draws

    references = References(choose_draws(x[n:], n), x[:n], None, x[n : 2 * n], raw)
    found = list(space.measures(x[-n:], references))
    _require(len(found) > 0, "there are no measures")
    for score in found:
        _require(math.isfinite(score.value) and bool(score.name and score.protocol), f"{score} is no measurement")
    _require(found[0].better in ("lower", "higher"), f"the headline {found[0].name} does not say what is better")
    with suppress(ValueError):
        space.check_features("no-such-features")
        raise CheckFailed("a feature space that does not exist was accepted")


# --- training ---------------------------------------------------------------------------------------------------------


def check_loss(model: GenerativeModel) -> None:
    """Each term returns a finite float32 loss of shape ``(B,)``."""
    x, cond = raw_examples(model)
    batch = model.encode(x, cond)
    terms = model.terms()
    _require(len(terms) > 0, "the objective has no terms")
    for name, term in terms.items():
        loss = term(batch)
        _require(loss.shape == (len(x),), f"term {name}: loss has shape {tuple(loss.shape)}, not ({len(x)},)")
        _require(loss.dtype == torch.float32, f"term {name}: loss is {loss.dtype}, not float32")
        _require(bool(torch.isfinite(loss).all()), f"term {name}: loss is not finite")


def check_gradients(model: GenerativeModel, batches: int = 3) -> None:
    """Every parameter a term updates gets a finite gradient from it, and the estimand's are all updated.

    A zero gradient is allowed (zero-initialised layers start there); a missing one is not.
    """
    updated: set[nn.Parameter] = set()
    for name, term in model.terms().items():
        _backward(model, term, batches)
        updated |= _finite_gradients(name, term)
    missing = [name for name, p in model.estimand.named_parameters() if p.requires_grad and p not in updated]
    _require(not missing, f"no term updates {', '.join(missing[:5])}")


def _backward(model: GenerativeModel, term: Term, batches: int) -> None:
    model.zero_grad(set_to_none=True)
    for seed in range(batches):
        term(model.encode(*raw_examples(model, seed=seed))).mean().backward()


def _finite_gradients(name: str, term: Term) -> set[nn.Parameter]:
    for key, p in term.updates.named_parameters():
        _require(p.grad is not None or not p.requires_grad, f"term {name}: {key} gets no gradient")
        finite = p.grad is None or bool(torch.isfinite(p.grad).all())
        _require(finite, f"term {name}: the gradient of {key} is not finite")
    return set(term.trainable())


def check_stationary(
    objective: Objective, oracle: Estimand, draw: Callable[[int], Tensor], batches: int = 64, directions: int = 8
) -> None:
    """At the true estimand the expected loss is stationary: its derivative along random directions is zero.

    The derivative is taken in the oracle's parameters, or, if it has none, in the coefficient of a random affine change
    of its output. It must be within 5 standard errors of zero over ``batches`` batches.

    Args:
        objective: what is tested.
        oracle: the exact estimand of the distribution that ``draw`` samples.
        draw: maps a seed to an encoded batch ``(B, *event)``.
        batches: how many batches the slope is averaged over.
        directions: how many random directions are tried.
    """
    for direction in range(directions):
        slopes = torch.tensor([_slope(objective, oracle, draw(seed), seed, direction) for seed in range(batches)])
        error = slopes.std() / math.sqrt(batches)
        _require(
            bool(slopes.mean().abs() <= 5 * error + 1e-7),
            f"{type(objective).__name__}: slope {slopes.mean():.3g} ± {error:.2g} at the true estimand, direction "
            f"{direction}",
        )


def _slope(objective: Objective, oracle: Estimand, x: Tensor, seed: int, direction: int) -> float:
    perturbed = _perturbed(oracle, direction)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        loss = torch.stack([term(Batch(x)).mean() for term in objective.terms(perturbed).values()]).sum()
    (slope,) = torch.autograd.grad(loss, perturbed.epsilon)
    return float(slope)


def _perturbed(oracle: Estimand, direction: int) -> Any:
    """The oracle in a one-parameter family, whose parameter is ``epsilon``."""
    families: Mapping[type[Estimand], Callable[[Any, int], Estimand]] = {
        Denoiser: PerturbedDenoiser,
        NoisePredictor: PerturbedNoisePredictor,
        Velocity: PerturbedVelocity,
        VectorField: PerturbedField,
        Score: PerturbedScore,
        AverageVelocity: PerturbedAverage,
    }
    for kind, family in families.items():
        if isinstance(oracle, kind):
            return family(oracle, direction)
    known = ", ".join(kind.__name__ for kind in families)
    raise TypeError(f"no perturbation is known for {type(oracle).__name__}: give one of {known}")


def _affine(x_t: Tensor, t: Tensor, direction: int) -> Tensor:
    """A fixed random smooth function of ``x_t`` and ``t``, of the shape of ``x_t``."""
    generator = torch.Generator().manual_seed(direction)
    d = x_t[0].numel()
    weight, bias, rate = (
        torch.randn(d, d, generator=generator),
        torch.randn(d, generator=generator),
        torch.randn(d, generator=generator),
    )
    flat = torch.tanh(x_t.flatten(1) @ weight.to(x_t) / math.sqrt(d)) + bias.to(x_t) * torch.cos(
        rate.to(x_t) * t[:, None]
    )
    return flat.reshape(x_t.shape)


@final
class PerturbedDenoiser(Denoiser):
    """``D + epsilon · f`` with a fixed random ``f``: a one-parameter family through an exact denoiser."""

    def __init__(self, denoiser: Denoiser, direction: int) -> None:
        super().__init__()
        self.denoiser, self.direction, self.path, self.event = denoiser, direction, denoiser.path, denoiser.event
        self.epsilon = nn.Parameter(torch.zeros(()))

    def forward(self, x_t: Tensor, t: Tensor, cond: Tensor | None = None) -> Tensor:
        return self.denoiser(x_t, t, cond) + self.epsilon * _affine(x_t, t, self.direction)


@final
class PerturbedVelocity(Velocity):
    """``v + epsilon · f`` with a fixed random ``f``: a one-parameter family through an exact velocity."""

    def __init__(self, velocity: Velocity, direction: int) -> None:
        super().__init__()
        self.velocity, self.direction, self.path, self.event = velocity, direction, velocity.path, velocity.event
        self.epsilon = nn.Parameter(torch.zeros(()))

    def forward(self, x_t: Tensor, t: Tensor, cond: Tensor | None = None) -> Tensor:
        return self.velocity(x_t, t, cond) + self.epsilon * _affine(x_t, t, self.direction)


@final
class PerturbedField(VectorField):
    """``v + epsilon · f`` with a fixed random ``f``: a one-parameter family through an exact vector field."""

    def __init__(self, field: VectorField, direction: int) -> None:
        super().__init__()
        self.field, self.direction, self.path, self.event = field, direction, field.path, field.event
        self.epsilon = nn.Parameter(torch.zeros(()))

    def forward(self, x_t: Tensor, t: Tensor, cond: Tensor | None = None) -> Tensor:
        return self.field(x_t, t, cond) + self.epsilon * _affine(x_t, t, self.direction)


@final
class PerturbedNoisePredictor(NoisePredictor):
    """``eps_hat + epsilon · f`` with a fixed random ``f``: a one-parameter family through an exact noise predictor."""

    def __init__(self, noise: NoisePredictor, direction: int) -> None:
        super().__init__()
        self.noise, self.direction, self.path, self.event = noise, direction, noise.path, noise.event
        self.epsilon = nn.Parameter(torch.zeros(()))

    def forward(self, x_t: Tensor, t: Tensor, cond: Tensor | None = None) -> Tensor:
        return self.noise(x_t, t, cond) + self.epsilon * _affine(x_t, t, self.direction)


@final
class PerturbedScore(Score):
    """``s + epsilon · f`` with a fixed random ``f``: a one-parameter family through an exact score."""

    def __init__(self, score: Score, direction: int) -> None:
        super().__init__()
        self.score, self.direction, self.path, self.event = score, direction, score.path, score.event
        self.epsilon = nn.Parameter(torch.zeros(()))

    def forward(self, x_t: Tensor, t: Tensor, cond: Tensor | None = None) -> Tensor:
        return self.score(x_t, t, cond) + self.epsilon * _affine(x_t, t, self.direction)


@final
class PerturbedAverage(AverageVelocity):
    """``u + epsilon · f`` with a fixed random ``f``: a one-parameter family through an exact average velocity."""

    def __init__(self, average: AverageVelocity, direction: int) -> None:
        super().__init__()
        self.average, self.direction, self.path, self.event = average, direction, average.path, average.event
        self.epsilon = nn.Parameter(torch.zeros(()))

    def forward(self, x_t: Tensor, t: Tensor, s: Tensor, cond: Tensor | None = None) -> Tensor:
        return self.average(x_t, t, s, cond) + self.epsilon * _affine(x_t, t + 2 * s, self.direction)


# --- sampling ---------------------------------------------------------------------------------------------------------


def check_samples(model: GenerativeModel, n: int = 5) -> None:
    """Samples belong to the space, conditional ones too, and a foreign label is refused."""
    for cond in {None, _some_label(model)}:
        x = model.sample(n, cond=cond)
        _require(
            x.shape == (n, *model.space.shape), f"samples have shape {tuple(x.shape)}, not {(n, *model.space.shape)}"
        )
        model.space.check(x)
    foreign = 0 if model.space.classes is None else model.space.classes
    try:
        model.sample(1, cond=foreign)
    except ValueError:
        return
    raise CheckFailed(f"a label the space does not have ({foreign}) was accepted")


def check_seeds(model: GenerativeModel) -> None:
    """One seed gives the same samples again, another seed gives others, and torch's own generator is not consulted."""
    before = torch.get_rng_state()
    first, again, other = model.sample(4, seed=1), model.sample(4, seed=1), model.sample(4, seed=2)
    _require(torch.equal(torch.get_rng_state(), before), "sampling consulted torch's global generator")
    _require(torch.equal(first, again), "the same seed gave different samples")
    _require(not torch.equal(first, other), "another seed gave the same samples")


def check_batch_split(model: GenerativeModel, n: int = 70) -> None:
    """Sample *i* is the same whatever n, the batch size and where the series is cut, to floating-point tolerance.

    Discrete samples may differ by one level in a rounding tie; at most 1 value in 1,000 may do more.
    """
    whole = model.sample(n, batch_size=128)
    parts = torch.cat([model.sample(10, batch_size=64), model.sample(n - 10, start=10, batch_size=64)])
    gap = (whole.double() - parts.double()).abs()
    tolerance = 1e-3 if whole.is_floating_point() else 1.0
    far = (gap > tolerance * (1 + whole.double().abs() * whole.is_floating_point())).double().mean().item()
    _require(far <= 1e-3, f"{far:.2%} of the values change when the same samples are drawn in other batches")


def check_evaluations(model: GenerativeModel, cost: Cost) -> None:
    """The counted network evaluations of one sample obey the cost law of the paradigm."""
    with count_evaluations(model.estimand) as count:
        model.sample(64, cond=_some_label(model), batch_size=64)
    rows = count.rows / 64
    lengths = {
        Cost.CONSTANT: (1.0, 1.0),
        Cost.LENGTH: (1.0, 2.0 * model.space.dims + 1),
        Cost.STEPS: (2.0, 1000.0),
        Cost.CHAIN: (2.0, 1e6),
    }
    low, high = lengths[cost]
    _require(
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

    For a solver of the ODE, which declares ``order``, the error is that of samples from given noise, held against the
    end of the ODE that :meth:`~fourfold.data.oracles.SolvedDenoiser.solved` tells by other means, so that a bias is
    seen. The order is expected up to the ``highest_order`` of the oracle's path.

    For a sampler that adds noise, which declares ``weak_order``, it is that of the mean and the covariance of all
    samples,
    which are computed, not estimated: the oracle must be of a Gaussian, so that a sample is an affine function of the
    noise. The limit is the same sampler's with ``16^(1/p)`` times the finest number of steps. It must be the
    distribution of the data itself to within 2 % of its scale, which covers what a start at ``N(0, sigma_T^2)`` is off
    by.

    The slope of log error against log steps, by regression in float64, may fall short of the order ``p`` by 0.4 and
    exceed it by 1.

    Args:
        sampler: the class.
        make: builds it for a number of steps.
        oracle: an exact denoiser.
        steps: numbers of steps.
    """
    weak = getattr(make(steps[0]), "weak_order", None)
    order: int | None = getattr(make(steps[0]), "order", None) if weak is None else weak
    if order is None:
        raise CheckFailed(f"{sampler.__name__} declares no order")
    order = min(order, oracle.path.highest_order)
    estimand = view(oracle, sampler.needs)
    result = _samples if weak is None else _moments
    with torch.no_grad(), _double():
        found = [result(make(n), estimand) for n in steps]
        exact = _end(oracle) if weak is None else _limit(make(math.ceil(16 ** (1 / order) * max(steps))), oracle)
    errors = torch.stack([(x - exact).norm() for x in found]).double()
    x, y = torch.log(torch.tensor(steps, dtype=torch.float64)), torch.log(errors)
    slope = float(((x - x.mean()) * (y - y.mean())).sum() / ((x - x.mean()) ** 2).sum())
    _require(
        -order - 1 < slope < -order + 0.4,
        f"{sampler.__name__} on {type(oracle.path).__name__}: error slope {slope:.2f}, "
        f"expected {'order' if weak is None else 'weak order'} {order}",
    )


def _end(oracle: SolvedDenoiser) -> Tensor:
    """Where the ODE leads from the 32 starts of :func:`_samples`."""
    return oracle.solved(Noise(0, 0, 32).normal(*oracle.event) * _last_sigma(oracle.path))


def _limit(finest: Sampler, oracle: SolvedDenoiser) -> Tensor:
    """Mean and covariance of a sampler with many steps, which must be those that the ODE leads to."""
    found = _moments(finest, view(oracle, finest.needs))
    starts = torch.cat([torch.zeros(1, *oracle.event), _last_sigma(oracle.path) * torch.eye(*oracle.event)])
    ends = oracle.solved(starts)
    columns = ends[1:] - ends[0]
    gap = found - torch.cat([ends[0], (columns.T @ columns).flatten()])
    _require(
        bool(gap.norm() < 0.02 * found.norm()),
        f"{type(finest).__name__} on {type(oracle.path).__name__}: mean and covariance tend to what is off by "
        f"{float(gap.norm() / found.norm()):.1%}",
    )
    return found


def _last_sigma(path: Path) -> float:
    return float(path.sigma(torch.tensor(path.t_max, dtype=torch.float64)))


@contextmanager
def _double() -> Iterator[None]:
    """Inside, noise is drawn and sums are made in float64."""
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
    ``A_k``.

    Args:
        sampler: whose settings, not states, fix its coefficients.
        estimand: affine in its input, as that of a Gaussian is.
    """
    dim = math.prod(estimand.event)
    counter = _Impulses(1)
    sampler(estimand, cast("Noise", counter))
    rows = sampler(estimand, cast("Noise", _Impulses(1 + counter.drawn * dim))).flatten(1)
    columns = rows[1:] - rows[0]
    return rows[0], columns.T @ columns


def _moments(sampler: Sampler, estimand: Estimand) -> Tensor:
    """Mean and covariance in one vector."""
    mean, covariance = moments(sampler, estimand)
    return torch.cat([mean, covariance.flatten()])


class _NotAffine(Exception):  # noqa: N818 (it says what the sampler is)
    """A sampler draws uniform numbers, so its samples are no affine function of normal ones."""


@final
class _Impulses:
    """Stands in for :class:`~fourfold.core.Noise`: each row but the first has one single 1 among all its draws."""

    def __init__(self, rows: int) -> None:
        self.start, self.stop, self.device, self.drawn = 0, rows, "cpu", 0

    def __len__(self) -> int:
        return self.stop

    def normal(self, *event: int) -> Tensor:
        """The next draw, ``(rows, *event)``."""
        dim = math.prod(event)
        z = torch.zeros(self.stop, dim)
        rows = 1 + self.drawn * dim + torch.arange(dim)
        inside = rows < self.stop
        z[rows[inside], torch.arange(dim)[inside]] = 1.0
        self.drawn += 1
        return z.reshape(self.stop, *event)

    def uniform(self, *event: int) -> Tensor:
        """Refused."""
        raise _NotAffine


# --- likelihood -------------------------------------------------------------------------------------------------------


def check_likelihood(model: GenerativeModel, kind: Kind | None = None) -> None:
    """The likelihood is a typed ``LogProb`` of finite nats (or kind ``none`` with a reason), repeatable by its seed.

    Where another seed gives other numbers, there is a standard error.
    """
    x, cond = raw_examples(model, 4)
    first, again, other = (model.log_prob(x, cond, seed=seed) for seed in (3, 3, 4))
    _require(first.nats.shape == (4,), f"nats have shape {tuple(first.nats.shape)}, not (4,)")
    if kind is not None:
        _require(first.kind is kind, f"the likelihood is of kind {first.kind}, not {kind}")
    if first.kind is Kind.NONE:
        _require(bool(torch.isnan(first.nats).all()) and bool(first.note), "kind none needs NaN and a reason")
        return
    _require(bool(torch.isfinite(first.nats).all()), "log-probabilities are not finite")
    _require(torch.allclose(first.nats, again.nats), "the same seed scores differently")
    drawn = not torch.allclose(first.nats, other.nats)
    _require(not drawn or first.std_error is not None, "numbers are random, but there is no standard error")
    _require(first.dims == math.prod(x.shape[1:]), f"dims is {first.dims}, not {math.prod(x.shape[1:])}")


def check_known_density(model: GenerativeModel, x: Tensor, truth: Tensor, bias: float = 0.02) -> None:
    """Against a known density, exact and estimate agree with it, and a bound stays below it.

    The mean of ``log p(x) - truth`` must be zero within 4 standard errors and ``bias`` (for ``exact`` and
    ``estimate``), or at most that (for ``lower_bound`` and ``estimated_bound``). Errors are taken from the spread of
    the difference over examples.

    Args:
        model: whose estimand is exact, or trained to be.
        x: raw examples, ``(B, *shape)``.
        truth: their exact log-densities in nats, ``(B,)``.
        bias: what a solver may be off by, in nats.

    Raises:
        CheckFailed: if the likelihood's kind is not one that can be checked, or the difference is too large.
    """
    result = model.log_prob(x)
    difference = result.nats.double() - truth.double()
    allowed = 4 * float(difference.std()) / math.sqrt(len(x)) + bias
    mean = float(difference.mean())
    two_sided, one_sided = (Kind.EXACT, Kind.ESTIMATE), (Kind.LOWER_BOUND, Kind.ESTIMATED_BOUND)
    checked = {**dict.fromkeys(two_sided, abs(mean)), **dict.fromkeys(one_sided, mean)}
    _require(result.kind in checked, f"a likelihood of kind {result.kind} cannot be held against a density")
    _require(checked[result.kind] <= allowed, f"{result.kind} is off by {mean:.3g} nats; {allowed:.2g} are allowed")


def check_integrates(model: GenerativeModel, reach: float = 8.0, points: int = 400, tolerance: float = 0.02) -> None:
    """An exact density of 1- or 2-dimensional vectors integrates to 1, a small table of masses sums to 1.

    Args:
        model: of a space that can be gone through (:meth:`fourfold.core.Space.support`): ``Vectors(1)``,
            ``Vectors(2)``, or images or text with at most 20,000 possible examples.
        reach: half-width of the grid where the space is unbounded.
        points: grid points per axis.
        tolerance: largest deviation from 1.

    Raises:
        CheckFailed: if it does not.
        ValueError: for a space that is too large.
    """
    grid, cell = model.space.support(points, reach)
    total = float(model.log_prob(grid, batch_size=8192).nats.double().logsumexp(0).exp()) * cell
    _require(abs(total - 1) < tolerance, f"the probability of everything is {total:.4f}, not 1")


def check_views(
    estimand: Denoiser | NoisePredictor | Velocity | Score, event: tuple[int, ...], atol: float = 1e-4
) -> None:
    """Seeing an estimand as another and back changes nothing: views commute.

    Every chain among denoiser, noise, velocity and score that leads back to the estimand's own type is compared with
    the estimand itself at random points and times.
    """
    path: Path = estimand.path
    generator = torch.Generator().manual_seed(0)
    t = torch.linspace(0.1, 0.8, 16) * (path.t_max - path.t_min) + path.t_min
    x_t = torch.randn(16, *event, generator=generator) * (1 + path.sigma(t).reshape(-1, *[1] * len(event)))
    kinds: tuple[type[Estimand], ...] = (Denoiser, NoisePredictor, Velocity, Score)
    own = next(kind for kind in kinds if isinstance(estimand, kind))
    expected = estimand(x_t, t)
    for middle in itertools.permutations([kind for kind in kinds if kind is not own]):
        seen: Estimand = estimand
        for kind in (*middle, own):
            seen = view(seen, kind)
        gap = (seen(x_t, t) - expected).abs().max() / (1 + expected.abs().max())
        _require(
            float(gap) < atol,
            f"the views {' -> '.join(k.__name__ for k in middle)} -> {own.__name__} change values by {gap:.2g}",
        )


# --- agreement --------------------------------------------------------------------------------------------------------

P = TypeVar("P", Sampler, Likelihood)
_MEAN, _COVARIANCE = (0.5, -0.3), ((1.0, 0.6), (0.6, 0.8))


def check_samplers_agree(model: GenerativeModel, n: int = 1000) -> None:
    """Every sampler and likelihood that a model accepts tells of one distribution, and no bound exceeds it.

    They are found by walking the concrete classes of fourfold and of the packages that the model's parts come from:
    those whose ``needs`` the estimand meets, by itself or by a registered view. They run in many steps or noise levels,
    where these are a setting.

    First they run on the exact estimand of a correlated Gaussian in the plane that sits in the network's seat, where
    one is known, each with its default settings. Mean and covariance of samples may be off by 0.2 of the data's scale,
    or 0.3 for samplers that declare no order and so a bias. Likelihoods may be off by 0.1 nats on average; a bound may
    not lie above the truth, nor more than 1 nat below, since the model is exact. An unnormalised one may be off by a
    constant.

    Then they run on the model itself, if it models vectors of at most 4 columns. Samples are compared with those of its
    own sampler and may differ by 0.5 of their scale, or 1 for samplers that declare no order. The density that a
    likelihood tells is integrated by importance sampling, unless it is unnormalised: its mean and covariance must be
    those of the samples, its mass 1, and that of a bound no more than 1. The model has to be trained; the samplers of
    an untrained network need not agree.

    Sampling errors, four of them, are allowed on top.

    Args:
        model: what is tested.
        n: samples of each sampler, and points of each integral.

    Raises:
        CheckFailed: for a sampler or a likelihood that tells of something else, with its name and by how much.
    """
    samplers, likelihoods = _accepted(model, model.sampler), _accepted(model, model.likelihood)
    oracle = _oracle(model.estimand)
    if oracle is not None:
        for sampler in samplers:
            _check_sampler(_default(sampler), oracle, n)
        for likelihood in likelihoods:
            _check_nats(_default(likelihood), oracle, n)
    if (
        isinstance(model.space, Vectors) and model.space.dim <= 4
    ):  # mean and covariance tell real vectors apart, no others
        _check_own(model, samplers, likelihoods, n)


_ORACLES: Sequence[tuple[type[Estimand], Callable[[Any], Estimand | None]]] = (
    (Denoiser, lambda e: GaussianDenoiser(e.path, _MEAN, _COVARIANCE)),
    (NoisePredictor, lambda e: view(GaussianDenoiser(e.path, _MEAN, _COVARIANCE), NoisePredictor)),
    (Velocity, lambda e: view(GaussianDenoiser(e.path, _MEAN, _COVARIANCE), Velocity)),
    (Score, lambda e: view(GaussianDenoiser(e.path, _MEAN, _COVARIANCE), Score)),
    (VectorField, lambda e: GaussianTransport(e.path, _MEAN, _COVARIANCE)),
    (AverageVelocity, lambda e: GaussianAverage(e.path, _MEAN, _COVARIANCE)),
    (ConsistencyFunction, lambda e: view(GaussianAverage(e.path, _MEAN, _COVARIANCE), ConsistencyFunction)),
    (NoisedEnergy, lambda e: GaussianNoisedEnergy(e.path, _MEAN, _COVARIANCE)),
    (ContinuousEnergy, lambda e: GaussianEnergy(_MEAN, _COVARIANCE)),
    (Conditionals, lambda e: GaussianConditionals(_MEAN, _COVARIANCE)),
    (Decoder, lambda e: None),
    (Pushforward, lambda e: GaussianFlow(_MEAN, _COVARIANCE)),
)
"""Oracles that can take an estimand's seat: the first entry whose type matches counts."""


def _oracle(estimand: Estimand) -> Estimand | None:
    """The exact estimand of the Gaussian that can sit in the seat of another; ``None`` where none is known."""
    return next((make(estimand) for kind, make in _ORACLES if isinstance(estimand, kind)), None)


def _accepted(model: GenerativeModel, own: P) -> list[P]:
    """The model's own part, and one of each other class of its sort that it accepts, in order of their names."""
    own_parts: Sequence[object] = (model.estimand, model.objective, model.sampler, model.likelihood)
    roots = {"fourfold", *(type(part).__module__.partition(".")[0] for part in own_parts)}
    for package in (fourfold.samplers, fourfold.paradigms):
        for info in pkgutil.iter_modules(package.__path__):
            importlib.import_module(f"{package.__name__}.{info.name}")
    kinds = _below(Sampler if isinstance(own, Sampler) else Likelihood) - {type(own)}
    found: list[P] = [own]
    for kind in sorted(kinds, key=lambda kind: (kind.__module__, kind.__qualname__)):
        if kind.__module__.partition(".")[0] in roots:
            with suppress(TypeError):  # an interface, settings without a default, or no view
                part = kind()
                view(model.estimand, part.needs)
                found += [] if getattr(part, "kind", None) is Kind.NONE else [part]
    return found


def _default(part: P) -> P:
    """A part of the same class with the settings it has by default, if it has any."""
    with suppress(TypeError):
        return type(part)()
    return part


@final
class _Unknown(Objective):
    """Left nothing behind, so that a likelihood that needs an encoder refuses it."""

    def terms(self, estimand: Any) -> Mapping[str, Term]:
        return {}


def _below(kind: type) -> set[Any]:
    """All subclasses of a class."""
    direct: set[Any] = set(kind.__subclasses__())
    return direct.union(*(_below(k) for k in direct))


def _fine(sampler: Sampler, first: int) -> Sampler:
    """The sampler with ``first`` steps, a sixth of them above first order, or half as many levels, if it has any."""
    order = _order(sampler)
    finer = {} if order is None else {"steps": first if order == 1 else first // 6}
    finer |= {"levels": first // 2} if hasattr(sampler, "levels") else {}
    return dataclasses.replace(sampler, **finer)  # type: ignore[type-var]


def _order(sampler: Sampler) -> int | None:
    order: int | None = getattr(sampler, "order", None) or getattr(sampler, "weak_order", None)
    return order


def _spread(x: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and covariance of rows, in float64."""
    return x.double().mean(0), x.double().T.cov().reshape(x.shape[1], x.shape[1])


def _difference(found: tuple[Tensor, Tensor], expected: tuple[Tensor, Tensor]) -> float:
    """The largest difference of two means and covariances, in units of the standard deviations expected."""
    scale = expected[1].diagonal().sqrt()
    mean = (found[0] - expected[0]).abs() / scale
    covariance = (found[1] - expected[1]).abs() / torch.outer(scale, scale)
    return float(torch.cat([mean, covariance.flatten()]).max())


def _check_sampler(sampler: Sampler, oracle: Estimand, n: int) -> None:
    """Its samples of the oracle have the Gaussian's mean and covariance: exactly where they are affine in the noise."""
    try:
        estimand = view(oracle, sampler.needs)
    except TypeError:  # it needs more than the oracle's kind, as a sampler of one network's inside does
        return
    with torch.no_grad(), _double():
        try:
            found, error = moments(_fine(sampler, 200), estimand), 0.0
        except _NotAffine:
            found, error = _spread(_fine(sampler, 200)(estimand, Noise(0, 0, n))), 4 * math.sqrt(2 / n)
        expected = torch.tensor(_MEAN), torch.tensor(_COVARIANCE)
    gap, allowed = _difference(found, expected), (0.3 if _order(sampler) is None else 0.2) + error
    _require(
        gap < allowed,
        f"{type(sampler).__name__} on {type(oracle).__name__}: mean or covariance is off by {gap:.2f} of the "
        "data's scale; "
        f"{allowed:.2f} are allowed",
    )


def _check_nats(likelihood: Likelihood, oracle: Estimand, n: int) -> None:
    """Its figures for draws of the Gaussian are their log-densities, or bounds below them."""
    x = GaussianFlow(_MEAN, _COVARIANCE)(Noise(1, 0, n).normal(2))
    try:
        result = likelihood(view(oracle, likelihood.needs), Batch(x), Noise(0, 0, n, "score"), _Unknown())
    except TypeError:  # it needs what another objective leaves behind
        return
    difference = result.nats.double() - GaussianConditionals(_MEAN, _COVARIANCE)(x.double()).sum(1)
    mean, spread = float(difference.mean()), float(difference.std())
    allowed = 0.1 + 4 * spread / math.sqrt(n)
    low, high = {
        Kind.UNNORMALISED: (-math.inf, math.inf),
        Kind.LOWER_BOUND: (-1 - allowed, allowed),
        Kind.NONE: (-math.inf, math.inf),
    }.get(result.kind, (-allowed, allowed))
    _require(
        low < mean < high or result.kind is Kind.NONE,
        f"{type(likelihood).__name__} on {type(oracle).__name__}: the {result.kind} is off by {mean:.2f} nats",
    )
    _require(
        spread < 0.1 or result.kind is not Kind.UNNORMALISED,
        f"{type(likelihood).__name__} on {type(oracle).__name__}: the energy is off by more than a constant "
        f"({spread:.2f} nats)",
    )


def _check_own(model: GenerativeModel, samplers: list[Sampler], likelihoods: list[Likelihood], n: int) -> None:
    """Samples and densities of the model itself have one mean and covariance."""
    error = 4 * math.sqrt(2 / n)
    own = _spread(model.with_parts(sampler=_fine(samplers[0], 150)).sample(n, batch_size=n))
    for sampler in samplers[1:]:
        gap = _difference(_spread(model.with_parts(sampler=_fine(sampler, 150)).sample(n, batch_size=n)), own)
        _require(
            gap < (1.0 if _order(sampler) is None else 0.5) + 1.5 * error,
            f"{type(sampler).__name__} and {type(samplers[0]).__name__} leave different samples: mean or covariance "
            f"differs by {gap:.2f} of their scale",
        )
    wide = own[0].tolist(), (2 * own[1]).tolist()
    x = GaussianFlow(*wide)(Noise(2, 0, n).normal(model.space.dims))
    log_q = GaussianConditionals(*wide)(x.double()).sum(1)
    for likelihood in likelihoods:
        with suppress(TypeError):  # it needs what another objective leaves behind
            _check_density(model, likelihood, x, log_q, own, error)


def _check_density(
    model: GenerativeModel,
    likelihood: Likelihood,
    x: Tensor,
    log_q: Tensor,
    own: tuple[Tensor, Tensor],
    error: float,
) -> None:
    """The integrals of ``p``, ``x p`` and ``x x^T p`` by draws ``x`` of ``q``."""
    result = model.with_parts(likelihood=likelihood).log_prob(x, batch_size=len(x))
    if result.kind in (Kind.NONE, Kind.UNNORMALISED):
        return
    w = (result.nats.double() - log_q).exp()
    mass, allowed = float(w.mean()), 0.1 + 4 * float(w.std()) / math.sqrt(len(x))
    name = f"{type(likelihood).__name__} ({result.kind})"
    if result.kind is Kind.LOWER_BOUND:
        _require(mass < 1 + allowed, f"{name} is no bound: its mass is {mass:.2f}")
        return
    _require(
        abs(mass - 1) < allowed,
        f"{name} is no density: its mass is {mass:.2f}, and {allowed:.2f} more or less are allowed",
    )
    share = w / w.sum()
    mean = share @ x.double()
    centred = x.double() - mean
    gap = _difference((mean, (share[:, None] * centred).T @ centred), own)
    _require(
        gap < 0.3 + 2 * error,
        f"{name} is not the density of the samples: mean or covariance differs by {gap:.2f} of their scale",
    )


# --- files ------------------------------------------------------------------------------------------------------------


def check_configuration(model: GenerativeModel) -> None:
    """``model.json`` rebuilds every part: the configuration survives a round trip, and so do the parameters' shapes."""
    import json

    written = json.loads(json.dumps(model.configuration()))
    trust = list(classes(model))
    rebuilt = GenerativeModel.from_configuration(written, trust)
    _require(rebuilt.configuration() == model.configuration(), "the configuration changes in a round trip")
    shapes = {key: value.shape for key, value in model.state_dict().items()}
    _require({k: v.shape for k, v in rebuilt.state_dict().items()} == shapes, "the rebuilt model has other parameters")
    for part in (model.sampler, model.likelihood, model.space):
        _require(construct(configuration(part), trust) == part, f"{type(part).__name__} changes in a round trip")


def check_saved(model: GenerativeModel) -> None:
    """Saved and loaded, a model samples and scores the same."""
    from fourfold.engine import load_model, save_model

    with tempfile.TemporaryDirectory() as folder:
        save_model(model, FilePath(folder))
        loaded = load_model(FilePath(folder), list(classes(model)))
    _require(torch.equal(model.sample(3), loaded.sample(3)), "the loaded model samples differently")
    x, cond = raw_examples(model, 3)
    same = torch.allclose(model.log_prob(x, cond).nats, loaded.log_prob(x, cond).nats, equal_nan=True)
    _require(same, "the loaded model scores differently")


# --- the engine -------------------------------------------------------------------------------------------------------


def _loop(model: GenerativeModel, rank: int = 0, world: int = 1, together: bool = False) -> Loop:
    """A loop on random examples in small batches, unclipped, for one rank of ``world``, together or on its own."""
    from fourfold.data import Split
    from fourfold.engine.distributed import Processes
    from fourfold.engine.loader import Loader
    from fourfold.engine.loop import Loop

    x, cond = raw_examples(model)
    split = Split(x if model.space.window is None else x.flatten(), cond)
    model.codec.fit(x)
    training = dataclasses.replace(model.training_defaults, batch_size=4, clip=0.0)
    loader = Loader(split, model.space, 4, 0, rank, world)
    return Loop(model, loader, training, processes=Processes(rank, world if together else 1))


def check_resume(model: GenerativeModel, steps: int = 4, at: int = 2) -> None:
    """Stopped at a step, saved and resumed, training reaches the same weights to the bit.

    Args:
        model: untrained; it is trained by the check.
        steps: of the uninterrupted run.
        at: the step at which the other run is cut.
    """
    whole, first = _loop(copy.deepcopy(model)), _loop(copy.deepcopy(model))
    for _ in range(steps):
        whole.step(1.0)
    for _ in range(at):
        first.step(1.0)
    second = _loop(model)
    second.load(first.state(), first.progress)
    for _ in range(steps - at):
        second.step(1.0)
    expected, found = whole.state(), second.state()
    changed = [key for key, value in expected.items() if not torch.equal(value, found[key])]
    _require(not changed, f"after resuming, {', '.join(changed[:3])} differ from the uninterrupted run")


def check_watching(model: GenerativeModel, steps: int = 3) -> None:
    """Training goes on to the bit as if nobody had looked at its losses between the steps.

    Args:
        model: untrained; it is trained by the check.
        steps: after each of which every term is evaluated.
    """
    alone, watched = _loop(copy.deepcopy(model)), _loop(model)
    with torch.random.fork_rng(devices=[]):
        batch = watched.model.encode(*raw_examples(model, 4, seed=1))
    for _ in range(steps):
        alone.step(1.0)
        watched.step(1.0)
        with watched.judging(), torch.enable_grad():
            for term in watched.terms.values():
                term(batch)
    expected, found = alone.state(), watched.state()
    changed = [key for key, value in expected.items() if not torch.equal(value, found[key])]
    _require(not changed, f"after looking at the losses, {', '.join(changed[:3])} differ: keep what counts in buffers")


def check_ranks(*models: GenerativeModel) -> None:
    """Two processes compute the gradient that one process computes from both halves of the batch.

    The two halves are computed with the seeds of their ranks and averaged, in float32; two real processes that talk
    through gloo are compared with that. Several models share the two processes.
    """
    from torch import multiprocessing

    with tempfile.TemporaryDirectory() as folder:
        torch.save([model.state_dict() for model in models], f"{folder}/models.pt")
        context = multiprocessing.get_context("spawn")
        arguments = (folder, [model.configuration() for model in models])
        workers = [context.Process(target=_rank, args=(rank, *arguments)) for rank in range(2)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join(300)
            worker.kill()
        _require(all(worker.exitcode == 0 for worker in workers), "a process of two failed")
        together = [torch.load(f"{folder}/{rank}.pt") for rank in range(2)]
    for model, first, second in zip(models, *together, strict=True):
        name = type(model.objective).__name__
        _require(torch.equal(first, second), f"{name}: the two processes hold different gradients")
        halves = [_first_gradient(_loop(copy.deepcopy(model), rank, 2)) for rank in range(2)]
        gap = float((first - (halves[0] + halves[1]) / 2).abs().max() / (1e-12 + first.abs().max()))
        _require(gap < 1e-4, f"{name}: two processes' gradient differs from one's with both halves by {gap:.2g}")


def _first_gradient(loop: Loop) -> Tensor:
    """The gradient of the first term at the first step."""
    loop.step(0.0)
    return loop.gradients()[0]


def _rank(rank: int, folder: str, configurations: Sequence[Mapping[str, Any]]) -> None:
    """One of the two processes of :func:`check_ranks`."""
    import torch.distributed as dist

    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    models = [GenerativeModel.from_configuration(parts) for parts in configurations]
    for model, state in zip(models, torch.load(f"{folder}/models.pt"), strict=True):
        model.load_state_dict(state)
    torch.save([_first_gradient(_loop(model, rank, 2, together=True)) for model in models], f"{folder}/{rank}.pt")
    with suppress(RuntimeError):  # the other may have passed it and be gone
        dist.barrier()
    os._exit(0)  # gloo's threads may outlive the interpreter and then abort a process that has done its work


MODEL_CHECKS: Mapping[str, Callable[[GenerativeModel], None]] = {
    "loss": check_loss,
    "gradients": check_gradients,
    "samples": check_samples,
    "seeds": check_seeds,
    "batch_split": check_batch_split,
    "cost": check_cost,
    "likelihood": check_likelihood,
    "configuration": check_configuration,
    "saved": check_saved,
    "resume": check_resume,
    "watching": check_watching,
}


def check_model(model: GenerativeModel) -> None:
    """Run every check that needs nothing but a model.

    Raises:
        CheckFailed: at the first promise that does not hold, naming the check.
    """
    for name, check in MODEL_CHECKS.items():
        try:
            check(model)
        except CheckFailed as failure:
            raise CheckFailed(f"{name}: {failure}") from None
