"""The accountant against closed forms and published figures."""

import math

import pytest
from scipy.stats import norm

pytest.importorskip("dp_accounting")

from fourfold.privacy import Guarantee, parse_guarantee
from fourfold.privacy.accounting import Spending, gaussian_multiplier, multiplier_for


def gaussian_delta(epsilon: float, multiplier: float) -> float:
    """The exact delta of one Gaussian release (Balle, Wang 2018, theorem 8)."""
    a, b = 1 / (2 * multiplier), epsilon * multiplier
    return float(norm.cdf(a - b) - math.exp(epsilon) * norm.cdf(-a - b))


@pytest.mark.parametrize("multiplier", [0.8, 2.0, 7.0])
def test_one_release_costs_the_exact_epsilon_of_a_gaussian(multiplier):
    epsilon = Spending(counts=multiplier).epsilon(1e-5)
    assert gaussian_delta(epsilon, multiplier) <= 1e-5 * (1 + 1e-6)
    assert gaussian_delta(epsilon * 0.99, multiplier) > 1e-5


def test_several_releases_add_up_by_squares():
    both = Spending(counts=3.0, rate=1.0, multiplier=4.0, steps=5).epsilon(1e-6)
    single = Spending(counts=(1 / 9 + 5 / 16) ** -0.5).epsilon(1e-6)
    assert both == pytest.approx(single, rel=5e-3)


@pytest.mark.parametrize(
    ("rate", "multiplier", "steps", "published", "exact"),
    [
        (0.01, 4.0, 10_000, 1.26, 0.947),  # Abadi et al. 2016, section 3.2, by moments; and by loss distributions
        (0.04, 1.5, 2_250, 7.3291, 6.777),  # Opacus' tests of its accountants: by Renyi divergence, and by PRV
    ],
)
def test_epsilon_is_that_of_published_accountants(rate, multiplier, steps, published, exact):
    epsilon = Spending(rate=rate, multiplier=multiplier, steps=steps).epsilon(1e-5)
    assert epsilon <= published
    assert epsilon == pytest.approx(exact, rel=0.02)


def test_the_multiplier_is_the_least_that_keeps_the_guarantee():
    guarantee, plan = Guarantee(2.0, 1e-6), {"counts": 12.0, "rate": 0.05, "steps": 300}
    multiplier = multiplier_for(guarantee, **plan)
    assert Spending(multiplier=multiplier, **plan).epsilon(1e-6) <= 2.0
    assert Spending(multiplier=0.99 * multiplier, **plan).epsilon(1e-6) > 2.0
    assert Spending(multiplier=multiplier, counts=12.0, rate=0.05, steps=150).epsilon(1e-6) < 2.0


def test_a_single_gaussian_meets_its_guarantee():
    multiplier = gaussian_multiplier(Guarantee(1.0, 1e-5))
    assert gaussian_delta(1.0, multiplier) <= 1e-5
    assert multiplier == pytest.approx(3.73, rel=0.01)  # Balle, Wang 2018: the analytic mechanism


def test_a_guarantee_is_read_and_takes_its_delta_from_the_rows():
    assert parse_guarantee("epsilon=4, delta=1e-6") == Guarantee(4.0, 1e-6)
    assert parse_guarantee("epsilon=4") == parse_guarantee(4) == Guarantee(4.0)
    assert Guarantee(4.0).for_rows(1000).delta == 1e-5
    assert Guarantee(4.0).for_rows(3_000_000).delta == pytest.approx(1e-7)
    assert Guarantee(4.0, 1e-3).for_rows(10**9).delta == 1e-3


@pytest.mark.parametrize("text", ["4", "epsilon", "epsilon=x", "epsilon=0", "epsilon=4,delta=2", "eps=1", "delta=1e-5"])
def test_another_text_is_refused(text):
    with pytest.raises(ValueError, match=r"epsilon|delta"):
        parse_guarantee(text)
