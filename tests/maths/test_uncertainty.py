"""Student's t against scipy, pooled errors against simulation, whole draws against closed forms."""

import itertools
import math

import pytest
import scipy.stats
import torch

from fourfold.core import LogProb
from fourfold.maths.uncertainty import adjusted, p_value, pooled_error, satterthwaite, student_t
from fourfold.vocabulary import Kind


@pytest.mark.parametrize("freedom", [1, 2, 2.5, 3, 4.4, 7, 9, 11, 17.3, 25, 45, 200, math.inf])
def test_student_t_has_the_tabled_points(freedom: float) -> None:
    exact = scipy.stats.t.ppf(0.975, freedom) if math.isfinite(freedom) else scipy.stats.norm.ppf(0.975)
    assert student_t(freedom) == pytest.approx(exact, rel=1e-9)


@pytest.mark.parametrize("freedom", [0, 0.5, -1, math.nan])
def test_no_freedom_is_refused(freedom: float) -> None:
    with pytest.raises(ValueError, match="freedom must be at least 1"):
        student_t(freedom)


def held(examples: int, freedom: int, spread: float, repeats: int = 4000) -> float:
    """How often two errors hold a normal figure whose variance is known from ``freedom`` degrees of freedom alone.

    The true variances of the examples are log-normal with standard deviation ``spread`` of their logarithm.
    """
    generator = torch.Generator().manual_seed(0)
    repeats = max(repeats // examples, 40)
    true = (spread * torch.randn(repeats, examples, generator=generator)).exp()
    chi = torch.randn(repeats, examples, freedom, generator=generator).square().mean(2)
    errors = torch.stack([pooled_error(row, freedom) for row in true * chi])
    figures = true.sqrt() * torch.randn(repeats, examples, generator=generator)
    return float((figures.abs() <= 2 * errors).double().mean())


@pytest.mark.parametrize(
    ("freedom", "examples", "spread"),
    [*itertools.product((1, 3, 16), (1, 4, 64, 512), (0.6,)), (1, 4, 0.0), (3, 1, 0.0), (16, 64, 0.0)],
)
def test_two_errors_hold_95_percent_however_few_draws_and_examples(freedom: int, examples: int, spread: float) -> None:
    assert 0.925 < held(examples, freedom, spread) < 0.98


def test_the_root_of_a_variance_from_two_draws_does_not() -> None:
    """The check can fail: this is what was reported before."""
    variance = torch.randn(4000, generator=torch.Generator().manual_seed(1)).square()
    figures = torch.randn(4000, generator=torch.Generator().manual_seed(2))
    assert float((figures.abs() <= 2 * variance.sqrt()).double().mean()) < 0.75


def test_one_example_has_students_interval_and_many_alike_a_normal_one() -> None:
    assert float(pooled_error(torch.tensor([4.0]), 1)) == pytest.approx(2 * 12.7062047 / 1.9599640)
    alike = pooled_error(torch.full((1000,), 4.0), 3)
    torch.testing.assert_close(alike, torch.full((1000,), 2.0), rtol=2e-3, atol=0)


def test_known_variances_stay_and_unknown_ones_stay_unknown() -> None:
    variance = torch.tensor([1.0, 4.0, math.nan])
    torch.testing.assert_close(pooled_error(variance, math.inf), variance.sqrt(), equal_nan=True)
    few = pooled_error(variance, 2)
    assert few[2].isnan()
    torch.testing.assert_close(few[:2], pooled_error(variance[:2], 2))
    assert pooled_error(torch.full((3,), math.nan), 1).isnan().all()
    assert torch.equal(pooled_error(torch.zeros(3), 1), torch.zeros(3))


def test_two_equal_draws_among_others_do_not_claim_to_be_exact() -> None:
    variance = torch.tensor([0.0, *[1.0] * 30])
    assert 0.5 < float(pooled_error(variance, 1)[0]) < 1.5


# --- LogProb ----------------------------------------------------------------------------------------------------------


def test_the_mean_of_draws_has_the_variance_of_a_mean() -> None:
    draws = torch.randn(4, 100, generator=torch.Generator().manual_seed(0))
    result = LogProb.of_draws(draws, Kind.LOWER_BOUND, "four")
    torch.testing.assert_close(result.nats, draws.mean(0))
    torch.testing.assert_close(result.variance, draws.var(0) / 4)
    assert (result.draws, result.freedom) == (4, 3)
    assert LogProb.of_draws(draws[:1], Kind.LOWER_BOUND).std_error.isnan().all()


def test_whole_draws_have_the_error_of_their_spread_whatever_each_says_of_itself() -> None:
    nats = torch.randn(3, 50, generator=torch.Generator().manual_seed(0))
    tiny = torch.full((50,), 1e-12)
    parts = [LogProb(row, Kind.ESTIMATE, variance=tiny, draws=4, note="each", freedom=3) for row in nats]
    result = LogProb.of_whole_draws(parts)
    torch.testing.assert_close(result.variance, nats.var(0) / 3)
    assert (result.draws, result.freedom, result.note) == (12, 2, "each; 3 draws of the codec for each example")


def test_errors_are_pooled_over_all_batches_that_are_joined() -> None:
    draws = torch.randn(2, 64, generator=torch.Generator().manual_seed(0))
    whole = LogProb.of_draws(draws, Kind.ESTIMATE)
    parts = [LogProb.of_draws(draws[:, i : i + 16], Kind.ESTIMATE) for i in range(0, 64, 16)]
    torch.testing.assert_close(LogProb.cat(parts).std_error, whole.std_error)
    assert not torch.allclose(torch.cat([part.std_error for part in parts]), whole.std_error)
    exact = LogProb(torch.zeros(2), Kind.EXACT)
    assert LogProb.cat([exact, exact]).std_error is None


@pytest.mark.parametrize(("unit", "number"), [("nats", "+0.5"), ("bits/dim", "-0.18")])
def test_the_error_of_a_solver_is_told_in_the_unit(unit: str, number: str) -> None:
    result = LogProb(torch.zeros(2), Kind.ESTIMATE, dims=4, note="ODE", solver_error=0.5, half_steps=7.5)
    assert result.note_in(unit).startswith(f"ODE; the solver's error is about {number} {unit} (half")
    assert LogProb(torch.zeros(2), Kind.EXACT, note="exact").note_in() == "exact"


def test_kinds_behind_a_codec_that_bounds() -> None:
    assert Kind.EXACT.bounded is Kind.LOWER_BOUND
    assert Kind.ESTIMATE.bounded is Kind.ESTIMATED_BOUND
    same = {Kind.LOWER_BOUND, Kind.ESTIMATED_BOUND, Kind.UNNORMALISED, Kind.NONE}
    assert all(kind.bounded is kind for kind in same)
    assert Kind.ESTIMATED_BOUND.words == "estimated bound"


@pytest.mark.parametrize(("value", "freedom"), [(2.0, 3), (-1.3, 17.3), (0.0, 9), (2.5, math.inf)])
def test_p_values_are_those_of_student(value: float, freedom: float) -> None:
    exact = 2 * (scipy.stats.norm if math.isinf(freedom) else scipy.stats.t(freedom)).sf(abs(value))
    assert p_value(2 * value, 2.0, freedom) == pytest.approx(exact, rel=1e-6)
    assert (p_value(0.0, 0.0, 3), p_value(1.0, 0.0, 3)) == (1, 0)
    assert all(map(math.isnan, (p_value(1.0, math.nan, 3), p_value(math.nan, 0.0, 3))))


def test_the_freedom_of_a_sum_is_welchs() -> None:
    groups = [
        scale * torch.randn(n, generator=torch.Generator().manual_seed(n)).double() for n, scale in ((9, 3), (40, 1))
    ]
    variances = [x.var().item() / len(x) for x in groups]
    exact = scipy.stats.ttest_ind(*map(torch.Tensor.numpy, groups), equal_var=False).df
    assert satterthwaite(variances, [8, 39]) == pytest.approx(exact)
    assert satterthwaite([2.0, 2.0], [9, 9]) == pytest.approx(18)
    assert satterthwaite([0.0, 0.0], [9, 9]) == math.inf


def test_independent_p_values_are_adjusted_by_sidaks_steps() -> None:
    p = torch.tensor([0.01, 0.04, 0.03, 0.005, math.nan], dtype=torch.float64)
    steps = [1 - (1 - value) ** (5 - i) for i, value in enumerate((0.005, 0.01, 0.03, 0.04))]
    exact = torch.tensor([steps[1], steps[3], steps[2], steps[0], 1.0]).double()
    exact[[1, 2]] = max(steps[2:])  # no smaller than one before it
    torch.testing.assert_close(adjusted(p, torch.eye(5).double()), exact, atol=0.006, rtol=0)


def test_figures_that_tell_of_the_same_are_not_counted_twice() -> None:
    p = torch.full((6,), 0.03, dtype=torch.float64)
    torch.testing.assert_close(adjusted(p, torch.ones(6, 1).double()), p, atol=0.006, rtol=0)


def test_all_pairs_of_equal_means_are_adjusted_as_tukeys_range() -> None:
    pairs = list(itertools.combinations(range(5), 2))
    effects = torch.zeros(len(pairs), 5).double()
    for row, (i, j) in zip(effects, pairs, strict=True):
        row[[i, j]] = torch.tensor([1.0, -1.0]).double()
    z = scipy.stats.studentized_range.isf(0.05, 5, 1e6) / math.sqrt(2)
    p = torch.ones(len(pairs), dtype=torch.float64)
    p[0] = 2 * scipy.stats.norm.sf(z)
    assert float(adjusted(p, effects)[0]) == pytest.approx(0.05, abs=0.006)
