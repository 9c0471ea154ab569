"""Known truths: figures of models and data whose answer is known, and how often their error bars hold.

Usage: python benchmarks/known.py [--only bounds,diffusion,...] [--seeds 40] [--out benchmarks/results/known.json]

Rows of parts that are not asked for stay in the file; its notes say with how many seeds and when each part was run.

Nothing is trained. A denoiser, a decoder, a flow or an energy in closed form stands in a network's seat, and each
figure is drawn again with many seeds. A row says what it is, the truth, the mean figure, the standard deviation over
seeds as a multiple of the mean standard error, and the share of cases that lie within two standard errors of their own
mean over seeds (of intervals: the share that holds the mean, or the truth where it is known). 95 % is right; 'none'
says that figures vary and no error is given. Between them stands the error that an ODE solver reports of itself. What
the first two columns differ by beyond all of this is the gap of a bound, which is no error.
"""

from __future__ import annotations

import argparse
import datetime
import itertools
import json
import math
import os
import platform
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from provenance import commit
from torch import Tensor, nn

from fourfold.codecs import Dequantised, LearnedCodec, Standardised
from fourfold.core import Codec, GenerativeModel, Likelihood, LogProb, Measure, Space
from fourfold.data import GaussianDenoiser, MixtureDenoiser, load
from fourfold.data.densities import GaussianMixture
from fourfold.distributions.observations import Gaussians, Head
from fourfold.distributions.references import Normal
from fourfold.estimands import Bijection, Denoiser
from fourfold.likelihoods import DiffusionBound
from fourfold.likelihoods.annealing import bracket_log_z
from fourfold.likelihoods.ode import ProbabilityFlow
from fourfold.maths.paths import EDM, VE, VP, Cosine, RectifiedFlow, SubVP
from fourfold.metrics import Measurement, coverage, density, frechet_distance, mmd, precision, recall
from fourfold.metrics.rows import Columns
from fourfold.metrics.score import spread
from fourfold.metrics.twosample import two_sample_auc
from fourfold.paradigms import flow
from fourfold.paradigms.diffusion import Denoising
from fourfold.paradigms.energy import Tilted
from fourfold.paradigms.latent import CodeDecoder, Elbo, ImportanceWeighted, PriorThenDecode
from fourfold.paradigms.latent import VariationalBound as Inferred
from fourfold.samplers.ode import DPMSolver
from fourfold.spaces import Images, Vectors
from fourfold.tasks.evaluation import mean_likelihood
from fourfold.tournament import combine
from fourfold.tournament.ranking import RISK, difference, lead
from fourfold.vocabulary import Kind

PATHS = (EDM(), VE(), VP(), SubVP(), Cosine(), RectifiedFlow())


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Attributes:
        name: model and likelihood, or data and measure.
        truth: the exact answer, on average; NaN where it is not known.
        figure: the mean of the reported figures.
        ratio: standard deviation over seeds by mean standard error; NaN where nothing is random, infinite where there
            is no error.
        share: of cases within two standard errors.
        cases: how many there were.
        solver: the solver's error, as it is reported, in nats.
    """

    name: str
    truth: float
    figure: float
    ratio: float = math.nan
    share: float = math.nan
    cases: int = 0
    solver: float = math.nan


# --- log-probabilities ------------------------------------------------------------------------------------------------


def scored(name: str, model: GenerativeModel, x: Tensor, truth: Tensor | float, seeds: int) -> Row:
    """Score the same examples with many seeds."""
    runs = [model.log_prob(x, seed=seed) for seed in range(seeds)]
    nats = torch.stack([run.nats for run in runs]).double()
    mean_truth = float(torch.as_tensor(truth).double().mean())
    solver = float(getattr(runs[0], "solver_error", math.nan))
    if seeds == 1 or bool((nats[0] == nats[1]).all()):
        return Row(name, mean_truth, float(nats.mean()), solver=solver)
    if runs[0].std_error is None:
        return Row(name, mean_truth, float(nats.mean()), math.inf, 0.0, nats.numel(), solver)
    if bool(runs[0].std_error.isnan().all()):
        return Row(name, mean_truth, float(nats.mean()), cases=nats.numel(), solver=solver)
    errors = torch.stack([run.std_error for run in runs]).double()
    deviation = (nats - nats.mean(0)).abs() * math.sqrt(seeds / (seeds - 1))
    ratio = float(nats.std(0).mean() / errors.mean())
    share = float((deviation <= 2 * errors).double().mean())
    return Row(name, mean_truth, float(nats.mean()), ratio, share, nats.numel(), solver)


class FixedGaussian(Head):
    """x ~ N(h, sigma^2 I)."""

    measure = Measure.LEBESGUE
    values = 1

    def __init__(self, sigma: float) -> None:
        self.sigma = sigma

    def __call__(self, h: Tensor) -> Gaussians:
        return Gaussians(h, torch.full_like(h, math.log(self.sigma)))


class Affine(nn.Module):
    """``x W^T + b`` and, of an encoder, constant scales beside it."""

    def __init__(self, weight: Tensor, bias: Tensor, log_scale: Tensor | None = None) -> None:
        super().__init__()
        # Scales are squashed where they are read: 4.5 tanh(raw / 4.5) - 2.5.
        raw = None if log_scale is None else 4.5 * torch.atanh((log_scale + 2.5) / 4.5)
        for name, value in (("weight", weight), ("bias", bias), ("raw", raw)):
            self.register_buffer(name, value)

    def forward(self, x: Tensor, cond: Tensor | None = None) -> Tensor:
        mean = x @ self.weight.T + self.bias
        return mean if self.raw is None else torch.cat([mean, self.raw.expand(len(x), -1)], 1)


class LinearGaussian:
    """``u ~ N(0, I)``, ``x = A u + N(0, sigma^2 I)`` with orthogonal columns of ``A``, and a posterior shifted and
    widened.

    ``log p(x)`` is that of one Gaussian; the gap of the evidence lower bound is the divergence of two.
    """

    def __init__(
        self, dim: int = 4, codes: int = 2, sigma: float = 0.7, shift: float = 0.4, widen: float = 0.3
    ) -> None:
        generator = torch.Generator().manual_seed(0)
        q, _ = torch.linalg.qr(torch.randn(dim, codes, generator=generator))
        self.a, self.sigma, self.space = q * torch.linspace(1.5, 0.5, codes), sigma, Vectors(dim)
        variance = 1 / (1 + self.a.square().sum(0) / sigma**2)
        mean = (self.a * variance / sigma**2).T
        self.exact = torch.distributions.MultivariateNormal(
            torch.zeros(dim), self.a @ self.a.T + sigma**2 * torch.eye(dim)
        )
        divergence = (math.exp(2 * widen) - 1) / 2 - widen + shift**2 / (2 * variance)
        self.gap = float(divergence.sum())
        self.encoder = Affine(mean, torch.full((codes,), shift), variance.log() / 2 + widen)
        self.decoder = CodeDecoder(Affine(self.a, torch.zeros(dim)), FixedGaussian(sigma), (dim,), codes)

    def model(self, likelihood: Likelihood) -> GenerativeModel:
        objective = Inferred(self.encoder)
        codec = Standardised(self.space)
        return GenerativeModel(self.space, codec, self.decoder, objective, PriorThenDecode(), likelihood)

    def sample(self, n: int, seed: int = 1) -> Tensor:
        generator = torch.Generator().manual_seed(seed)
        u = torch.randn(n, self.a.shape[1], generator=generator)
        return u @ self.a.T + self.sigma * torch.randn(n, len(self.a), generator=generator)


def bounds(seeds: int, examples: int) -> Iterator[Row]:
    """A linear-Gaussian variational autoencoder."""
    oracle = LinearGaussian()
    x = oracle.sample(4 * examples)
    truth = oracle.exact.log_prob(x)
    for draws in (2, 32):
        yield scored(f"VAE, ELBO, {draws} draws", oracle.model(Elbo(draws)), x, truth - oracle.gap, seeds)
    for k in (1, 8, 64, 1024):
        part = x if k < 1024 else x[:examples]
        row = scored(f"VAE, IWAE, K = {k}", oracle.model(ImportanceWeighted(k)), part, truth[: len(part)], seeds)
        yield row


def mixture(dim: int) -> tuple[GaussianMixture, Tensor]:
    """A mixture of three Gaussians with full covariances, and draws of it."""
    generator = torch.Generator().manual_seed(0)
    roots = torch.randn(3, dim, dim, generator=generator).double() / 2
    covariances = roots @ roots.mT + 0.05 * torch.eye(dim)
    means = torch.randn(3, dim, generator=generator)
    density = GaussianMixture([0.5, 0.3, 0.2], means, covariances)
    return density, density.sample(512, generator)[0].float()


def of_denoiser(
    denoiser: Denoiser, likelihood: Likelihood, space: Space, codec: Codec | None = None
) -> GenerativeModel:
    parts = (denoiser, Denoising(), DPMSolver(), likelihood)
    return GenerativeModel(space, Standardised(space) if codec is None else codec, *parts)


def diffusion(seeds: int, examples: int) -> Iterator[Row]:
    """Exact denoisers of mixtures, over all paths."""
    likelihoods: Mapping[str, tuple[Likelihood, int]] = {
        "bound, 32 levels": (DiffusionBound(32), seeds),
        "ODE, exact trace": (ProbabilityFlow(24, None), 1),
        "ODE, 4 probes": (ProbabilityFlow(24, 4), max(seeds // 2, 2)),
    }
    for dim, paths in ((2, PATHS), (8, (EDM(), RectifiedFlow()))):
        density, draws = mixture(dim)
        x = draws[:examples]
        for path, (name, (likelihood, times)) in itertools.product(paths, likelihoods.items()):
            model = of_denoiser(MixtureDenoiser.of(path, density), likelihood, Vectors(dim))
            yield scored(f"{type(path).__name__}, d={dim}, {name}", model, x, density.log_prob(x), times)
    density, x = mixture(8)
    for steps in (12, 24, 96):
        model = of_denoiser(MixtureDenoiser.of(EDM(), density), ProbabilityFlow(steps, None), Vectors(8))
        yield scored(f"EDM, d=8, ODE, {steps} steps", model, x[:examples], density.log_prob(x[:examples]), 1)


def hybrid(seeds: int, examples: int) -> Iterator[Row]:
    """Exact denoisers of the codes of a linear-Gaussian autoencoder: the gap is that of its posterior alone."""
    oracle = LinearGaussian(dim=2, sigma=0.4, shift=0.2, widen=0.3)
    codec = LearnedCodec(oracle.model(Elbo()))
    codec.mean.copy_(torch.tensor([0.2, -0.7]))
    codec.scale.copy_(torch.tensor([1.3, 0.6]))
    mean, scale = (-codec.mean / codec.scale).tolist(), torch.diag(1 / codec.scale**2).tolist()
    x = oracle.sample(examples)
    truth = oracle.exact.log_prob(x) - oracle.gap
    for path in (EDM(), RectifiedFlow()):
        for name, likelihood in (
            ("bound", DiffusionBound(32)),
            ("ODE, exact trace", ProbabilityFlow(24, None)),
            ("ODE, 4 probes", ProbabilityFlow(24, 4)),
        ):
            model = of_denoiser(GaussianDenoiser(path, mean, scale), likelihood, Vectors(2), codec)
            yield scored(f"latent {type(path).__name__}, {name}", model, x, truth, seeds)


# --- dequantised integers ---------------------------------------------------------------------------------------------

SPREAD = 0.6
"""Standard deviation of the normal density of dequantised pixels."""


class Scaled(Bijection):
    """``x = SPREAD z``."""

    def __init__(self, event: tuple[int, ...]) -> None:
        super().__init__()
        self.event, self.latent, self.net = event, event, nn.Identity()

    def forward(self, z: Tensor, cond: Tensor | None = None) -> Tensor:
        return SPREAD * z

    def inverse(self, x: Tensor, cond: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return x / SPREAD, torch.full((len(x),), -x[0].numel() * math.log(SPREAD))


class Flattened(Denoiser):
    """The exact denoiser of ``N(0, SPREAD^2 I)`` for images."""

    def __init__(self, event: tuple[int, ...]) -> None:
        super().__init__()
        dim = math.prod(event)
        self.path, self.event = EDM(), event
        self.net = GaussianDenoiser(self.path, [0.0] * dim, (SPREAD**2 * torch.eye(dim)).tolist())

    def forward(self, x_t: Tensor, t: Tensor, cond: Tensor | None = None) -> Tensor:
        return self.net(x_t.flatten(1), t).view_as(x_t)


def dequantised_bound(x: Tensor, n_values: int) -> Tensor:
    """``E_u log N(z; 0, SPREAD^2 I) + log |det|`` in closed form, ``(B,)``: ``E z^2 = middle^2 + width^2 / 12``."""
    width = 2 / n_values
    middle = (x.double() + 0.5) * width - 1
    each = -(middle.square() + width**2 / 12) / (2 * SPREAD**2) - math.log(SPREAD) - 0.5 * math.log(2 * math.pi)
    return (each + math.log(width)).flatten(1).sum(1)


def dequantised(seeds: int, examples: int) -> Iterator[Row]:
    """Densities of dequantised pixels, which bound a mass."""
    space = Images(1, 4, 4, n_values=4)
    generator = torch.Generator().manual_seed(0)
    x = torch.randint(4, (examples, *space.shape), generator=generator).to(torch.uint8)
    truth = dequantised_bound(x, 4)
    parts = (flow.ChangeOfVariables(), flow.NoiseThenMap(), flow.ExactDensity())
    exact = GenerativeModel(space, Dequantised(space), Scaled(space.shape), *parts)
    yield scored("dequantised flow", exact, x, truth, seeds)
    for name, likelihood, times in (
        ("bound", DiffusionBound(32), seeds),
        ("ODE, 2 probes", ProbabilityFlow(12, 2), 20),
    ):
        model = of_denoiser(Flattened(space.shape), likelihood, space, Dequantised(space))
        yield scored(f"dequantised diffusion, {name}", model, x, truth, times)


# --- normalisers and entropies ----------------------------------------------------------------------------------------


class LogRatio(nn.Module):
    """``log p(x) - log q(x) + log Z``: the tilt that makes of a reference the known density, times ``Z``."""

    def __init__(self, density: GaussianMixture, reference: Normal, log_z: float) -> None:
        super().__init__()
        self.density, self.reference, self.log_z = density, reference, log_z

    def forward(self, x: Tensor, cond: Tensor | None = None) -> Tensor:
        return (self.density.log_prob(x) - self.reference.log_prob(x)).float() + self.log_z


def normalisers(seeds: int, examples: int) -> Iterator[Row]:
    """Annealing both ways, where log Z is known."""
    density = GaussianMixture([0.4, 0.6], [[-2.0], [2.0]], [[[0.5]], [[0.8]]])
    reference, log_z = Normal((1,), 3.0), 1.7
    energy = Tilted(LogRatio(density, reference, log_z), (1,), reference)
    runs = []
    for seed in range(seeds):
        samples = density.sample(100, torch.Generator().manual_seed(seed))[0].float()
        runs.append(bracket_log_z(energy, chains=100, temperatures=40, samples=samples, seed=seed))
    ends = {"lower": "AIS, forwards", "upper": "AIS, in reverse"}
    for end, name in ends.items():
        values = torch.tensor([getattr(run, end) for run in runs], dtype=torch.float64)
        errors = torch.tensor([getattr(run, f"{end}_error") for run in runs], dtype=torch.float64)
        share = ((values - log_z).abs() <= 2 * errors).double().mean()
        yield Row(name, log_z, float(values.mean()), float(values.std() / errors.mean()), float(share), seeds)
    hits = [low <= log_z <= high for low, high in (run.interval(2) for run in runs)]
    middle = sum((run.lower + run.upper) / 2 for run in runs) / seeds
    yield Row("AIS, the bracket of both", log_z, middle, share=sum(hits) / seeds, cases=seeds)


def entropies(seeds: int, examples: int) -> Iterator[Row]:
    """Mean log-densities of test splits of the built-in sets, against the entropy by quadrature."""
    line = (torch.arange(600).double() + 0.5) / 600 * 24 - 12
    points = torch.cartesian_prod(line, line)
    for name in ("eight-gaussians", "gaussian-mixture", "checkerboard"):
        sets = [load(name, seed=seed) for seed in range(max(seeds // 2, 2))]
        log_p = sets[0].density.log_prob(points)
        mass = log_p.exp()
        entropy = -float(torch.where(mass > 0, mass * log_p, 0.0).sum() / mass.sum())
        nats = [data.density.log_prob(data.test.x) for data in sets]
        values = torch.stack([-value.mean() for value in nats])
        errors = torch.stack([value.std() / math.sqrt(len(value)) for value in nats])
        if not bool(errors.max() > 1e-9):
            yield Row(f"{name}, entropy", entropy, float(values.mean()))
            continue
        share = ((values - entropy).abs() <= 2 * errors).double().mean()
        ratio = float(values.std() / errors.mean())
        yield Row(f"{name}, entropy", entropy, float(values.mean()), ratio, float(share), len(sets))


# --- intervals of measures --------------------------------------------------------------------------------------------


def interval_row(name: str, scores: Sequence[Measurement], truth: float = math.nan) -> Row:
    """How often the interval of a score holds the truth, or its own mean where that is not known."""
    values = torch.tensor([score.value for score in scores], dtype=torch.float64)
    mean = float(values.mean())
    target = mean if math.isnan(truth) else truth
    share = sum(score.low <= target <= score.high for score in scores) / len(scores)
    error = sum(map(standard_error, scores)) / len(scores)
    return Row(name, truth, mean, float(values.std()) / error, share, len(scores))


def standard_error(score: Measurement) -> float:
    """That of the score's parts: its interval is wider by Student's t, and may be cut. Else from its interval."""
    if math.isnan(score.error):
        return (score.high - score.low) / 2 / 1.96
    return math.sqrt(score.error**2 + spread(score.deviations))


def measures(seeds: int, examples: int) -> Iterator[Row]:
    """Intervals of single seeds: samples and references are drawn anew."""
    m = 180
    for n, dim, scale in ((64, 8, 1.0), (180, 8, 1.0), (180, 8, 0.7), (180, 2, 1.0)):
        generator = torch.Generator().manual_seed(n)
        pairs = [
            (scale * torch.randn(n, dim, generator=generator), torch.randn(m, dim, generator=generator))
            for _ in range(3 * seeds)
        ]
        about = f"n = {n}, d = {dim}, scale {scale:g}"
        equal = 1 - math.prod((m - i) / (m + n - i) for i in range(1, 6)) if scale == 1 else math.nan
        yield interval_row(f"coverage, {about}", [coverage(x, y, features="f") for x, y in pairs], equal)
        for name, measure in (("recall", recall), ("precision", precision), ("density", density)):
            yield interval_row(f"{name}, {about}", [measure(x, y, features="f") for x, y in pairs])
        yield interval_row(f"Frechet distance, {about}", [frechet_distance(x, y, features="f") for x, y in pairs])
        yield interval_row(f"MMD, {about}", [mmd(x, y, features="f") for x, y in pairs])


SEEDS = (1, 3, 5, 10)
"""Numbers of seeds whose scores are combined."""


def likelihoods(
    repeats: int, n: int = 200, training: float = 0.01, interaction: float = 0.05
) -> Iterator[list[Measurement]]:
    """Scores of ten trainings on the same ``n`` test examples of N(-3, 1) nats, with new examples for each repeat.

    Args:
        repeats: how many times.
        n: test examples.
        training: standard deviation of the trainings' means.
        interaction: standard deviation of the part of a score that depends on training and example together.
    """
    generator = torch.Generator().manual_seed(0)
    for _ in range(repeats):
        examples = -3 + torch.randn(n, generator=generator)
        of_trainings = examples + training * torch.randn(max(SEEDS), 1, generator=generator)
        nats = of_trainings + interaction * torch.randn(max(SEEDS), n, generator=generator)
        yield [mean_likelihood(LogProb(row, Kind.EXACT), "nats") for row in nats]


def of_samples(measure: Callable[..., Measurement], repeats: int, n: int = 120) -> Iterator[list[Measurement]]:
    """Scores of ten trainings against the same references, with new references for each repeat.

    The samples of a training are ``N(c, 0.8² I)``, whose centre ``c`` is ``(0.5, 0.5)`` and differs by 0.03 between
    trainings; references are ``N(0, I)``.
    """
    generator = torch.Generator().manual_seed(0)
    for _ in range(repeats):
        references = torch.randn(n, 2, generator=generator)
        centres = 0.5 + 0.03 * torch.randn(max(SEEDS), 1, 2, generator=generator)
        samples = centres + 0.8 * torch.randn(max(SEEDS), n, 2, generator=generator)
        yield [measure(x, references, features="f") for x in samples]


def trees(x: Tensor, y: Tensor, features: str) -> Measurement:
    """The two-sample AUC of two quantities."""
    return two_sample_auc(x, y, Columns(("a", "b"), (False, False), ("", "")))


def over_seeds(name: str, repeats: Iterable[list[Measurement]], truth: float = math.nan) -> Iterator[Row]:
    """How often the interval of several combined seeds holds the truth, or the mean over all repeats."""
    scores = list(repeats)
    if math.isnan(truth):
        truth = sum(score.value for trainings in scores for score in trainings) / sum(map(len, scores))
    for count in SEEDS:
        means = [combine(trainings[:count]) for trainings in scores]
        yield interval_row(f"{name}, {count} seed{'s' * (count > 1)}", means, truth)


def equal_models(name: str, repeats: Iterable[list[Measurement]]) -> Iterator[Row]:
    """How often two equal models are called different, and the best of five of any other: of one seed, and of two."""
    scores = list(repeats)
    for count in (1, 2):
        models = [[combine(trainings[i : i + count]) for i in range(0, 5 * count, count)] for trainings in scores]
        pairs = [difference(trainings[0], trainings[1]).p <= RISK for trainings in models]
        leads = [lead(by_number(trainings)) for trainings in models]
        several = [len({*leading.leaders, *leading.near}) < 5 for leading in leads]
        for case, wrong in ((f"{name}, a pair", pairs), (f"{name}, five", several)):
            equal = 1 - sum(wrong) / len(wrong)
            yield Row(f"{case}, {count} seed{'s' * (count > 1)}", 1.0, equal, share=equal, cases=len(wrong))


def by_number(scores: Sequence[Measurement]) -> dict[str, Measurement]:
    return {str(i): score for i, score in enumerate(scores)}


def seeds_combined(seeds: int, examples: int) -> Iterator[Row]:
    """Intervals of several seeds, which share their test examples, and models that differ significantly by them."""
    yield from over_seeds("likelihood", likelihoods(25 * seeds), -3.0)
    yield from over_seeds("likelihood, interaction", likelihoods(25 * seeds, training=0.0, interaction=1.0), -3.0)
    for name, measure in (
        ("MMD", mmd),
        ("Frechet distance", frechet_distance),
        ("coverage", coverage),
        ("recall", recall),
        ("precision", precision),
        ("density", density),
    ):
        yield from over_seeds(name, of_samples(measure, 3 * seeds))
    yield from equal_models("equal likelihoods", likelihoods(25 * seeds, training=0.0, interaction=0.3))
    yield from equal_models("equal MMD", of_samples(mmd, 3 * seeds))


def seeds_of_trees(seeds: int, examples: int) -> Iterator[Row]:
    """The same of a score by trees, each of which takes a third of a second."""
    yield from over_seeds("two-sample AUC", of_samples(trees, seeds))


SUITE: Mapping[str, Callable[[int, int], Iterator[Row]]] = {
    "bounds": bounds,
    "diffusion": diffusion,
    "hybrid": hybrid,
    "dequantised": dequantised,
    "normalisers": normalisers,
    "entropies": entropies,
    "measures": measures,
    "seeds": seeds_combined,
    "trees": seeds_of_trees,
}


# --- the table --------------------------------------------------------------------------------------------------------


def line(row: Row) -> str:
    """A row in at most 80 columns."""

    def shown(value: float, form: str) -> str:
        return "none" if math.isinf(value) else "" if math.isnan(value) else format(value, form)

    cells = (shown(row.truth, ".4f"), shown(row.figure, ".4f"), shown(row.solver, "+.4f"), shown(row.ratio, ".2f"))
    return _cells(row.name, *cells, shown(100 * row.share, ".1f"))


def _cells(name: str, truth: str, figure: str, solver: str, ratio: str, share: str) -> str:
    return f"{name:<38}{truth:>10}{figure:>10}{solver:>9}{ratio:>6}{share:>7}".rstrip()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default=",".join(SUITE), help="parts of the suite, separated by commas")
    parser.add_argument("--seeds", type=int, default=40)
    parser.add_argument("--examples", type=int, default=64)
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("results") / "known.json")
    arguments = parser.parse_args()
    print(_cells("", "truth", "figure", "solver", "sd/se", "2 se %"))
    for part in arguments.only.split(","):
        rows = []
        for row in SUITE[part](arguments.seeds, arguments.examples):
            rows.append({"part": part, **asdict(row)})
            print(line(row), flush=True)
        write(arguments.out, part, rows, arguments.seeds, arguments.examples)


def write(path: Path, part: str, rows: list[dict[str, Any]], seeds: int, examples: int) -> None:
    """Put the rows of a part in the place of its former ones."""
    before = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {"rows": [], "runs": {}}
    plain = [{k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in row.items()} for row in rows]
    date = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d")
    runs = {**before["runs"], part: f"{seeds} seeds, {examples} examples, {date}, commit {commit()}"}
    rest = [row for row in before["rows"] if row["part"] != part]
    result = {
        "title": "Known truths, and the share of cases that two standard errors hold",
        "order": 4,
        "command": "benchmarks/known.py",
        "date": date,
        "commit": commit(),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, {platform.system()}",
        "versions": {"python": platform.python_version(), "torch": torch.__version__},
        "runs": runs,
        "notes": ["Parts: " + "; ".join(f"{name}: {run}" for name, run in runs.items()) + "."],
        "rows": sorted(rest + plain, key=lambda row: list(SUITE).index(row["part"])),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
