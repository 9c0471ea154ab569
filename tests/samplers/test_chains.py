"""Diagnostics of chains against processes whose autocorrelation is known."""

import math

import pytest
import torch

from fourfold.samplers.chains import Chains, effective_sample_size, rank_normalised, split_rhat


def autoregressive(rho, chains=8, draws=4000, seed=0):
    """``x_t = rho x_{t-1} + sqrt(1 - rho^2) eps``, stationary: its effective sample size is ``S (1 - rho) / (1 +
    rho)``.
    """
    generator = torch.Generator().manual_seed(seed)
    eps = torch.randn(chains, draws, generator=generator, dtype=torch.float64)
    x = [eps[:, 0]]
    for t in range(1, draws):
        x.append(rho * x[-1] + math.sqrt(1 - rho**2) * eps[:, t])
    return torch.stack(x, 1)


@pytest.mark.parametrize("rho", [0.0, 0.5, 0.9, -0.5])
def test_effective_sample_size_of_an_autoregressive_process(rho):
    draws = autoregressive(rho)
    expected = draws.numel() * (1 - rho) / (1 + rho)
    assert effective_sample_size(draws).item() == pytest.approx(expected, rel=0.12)


def test_chains_that_agree_have_an_rhat_of_one():
    assert split_rhat(autoregressive(0.5)).item() == pytest.approx(1, abs=5e-3)


def test_rhat_grows_with_the_distance_of_the_chains_as_it_should():
    """Normal chains around means of variance b: R-hat is about sqrt(1 + b), before ranks bend it."""
    draws = autoregressive(0.0, 40, 500)
    shift = torch.linspace(-1, 1, 40, dtype=torch.float64)[:, None]
    assert split_rhat(draws + shift).item() == pytest.approx(math.sqrt(1 + shift.var().item()), rel=0.05)


def test_chains_of_different_spread_are_seen_by_folding():
    draws = autoregressive(0.0)
    draws[:4] *= 3
    assert split_rhat(draws).item() > 1.05


def test_a_chain_that_drifts_is_seen_by_splitting():
    drift = torch.linspace(-2, 2, 4000, dtype=torch.float64)
    assert split_rhat(autoregressive(0.0) + drift).item() > 1.2


def test_chains_stuck_at_different_places_count_for_little():
    draws = autoregressive(0.0) + 20 * torch.arange(8, dtype=torch.float64)[:, None]
    assert effective_sample_size(draws).item() < 20


def test_ranks_are_standard_normal_and_ties_share_one():
    z = rank_normalised(torch.rand(4, 500, 1, generator=torch.Generator().manual_seed(0)).exp())
    assert z.mean().item() == pytest.approx(0, abs=1e-9)
    assert z.std().item() == pytest.approx(1, abs=0.01)
    assert rank_normalised(torch.tensor([[1.0, 1.0, 0.0, 2.0]]))[0, :2].tolist() == pytest.approx([0.0, 0.0])


def test_quantities_are_diagnosed_one_by_one():
    good, bad = autoregressive(0.0), autoregressive(0.9, seed=1)
    both = torch.stack([good, bad], 2)
    assert effective_sample_size(both).tolist() == pytest.approx(
        [effective_sample_size(good).item(), effective_sample_size(bad).item()]
    )
    assert split_rhat(both)[0].item() == pytest.approx(split_rhat(good).item())


def test_diagnostics_take_the_worst_quantity():
    good, bad = autoregressive(0.0), autoregressive(0.95, seed=1)
    ones = torch.ones(8)
    result = Chains(bad[:, -1:], good[:, -1], 0.6 * ones, 0.1 * ones, good, bad[:, :, None]).diagnose()
    assert result.ess == pytest.approx(effective_sample_size(bad).item())
    assert result.rhat == pytest.approx(max(split_rhat(bad).item(), split_rhat(good).item()))
    assert (result.acceptance, result.chains, result.draws) == (pytest.approx(0.6), 8, 4000)
    assert "acceptance 0.600" in str(result)


def test_constant_chains_and_short_ones():
    assert split_rhat(torch.ones(2, 10)).item() == 1
    assert effective_sample_size(torch.ones(2, 10)).item() == 20
    with pytest.raises(ValueError, match="at least 4 draws"):
        split_rhat(torch.ones(2, 3))
