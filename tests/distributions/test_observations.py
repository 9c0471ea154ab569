"""Pixel values drawn from mixtures of discretised logistics against their masses."""

import pytest
import torch

from fourfold.distributions.observations import DiscretisedLogistics


@pytest.mark.parametrize("n_values", [2, 5, 16, 256])
def test_quantiles_are_the_lowest_values_with_enough_mass(n_values):
    torch.manual_seed(0)
    logits, mu, log_scale = torch.randn(3, 4, 2, 1, 3, 3, dtype=torch.float64)
    model = DiscretisedLogistics(logits, 2 * mu, 2 * log_scale - 1, n_values)
    places = torch.linspace(-1, 1, n_values, dtype=torch.float64)
    masses = torch.stack([model.log_masses(torch.full((4, 1, 3, 3), p)).exp() for p in places.tolist()])
    below = masses.cumsum(0)
    torch.testing.assert_close(below[-1], torch.ones_like(below[-1]))
    for u in (0.01, 0.5, 0.99):
        quantile = model._quantile(torch.full((), u, dtype=torch.float64))
        expected = places[(below < u).sum(0)]
        torch.testing.assert_close(quantile, expected)


def test_gradients_at_the_outer_bins_are_finite_for_any_scale():
    scale = torch.tensor([-20.0, 0.0, 40.0, 120.0], requires_grad=True).view(1, 1, 4)
    scale.retain_grad()
    model = DiscretisedLogistics(torch.zeros(1, 1, 4), torch.zeros(1, 1, 4), scale, 17)
    model.log_prob(torch.ones(1, 4)).sum().backward()
    assert scale.grad.isfinite().all()
