"""The Runge-Kutta rule against an exact solution."""

import math

import torch

from fourfold.likelihoods.ode import runge_kutta


def test_the_classical_rule_has_order_four_for_the_state_and_for_integrals_along_its_path():
    """``dx/dt = x cos t`` from ``x = 1``, and the integral of ``x cos t``: both end at ``exp(sin t)``, less one."""
    errors = []
    for steps in (8, 16, 32):
        state = torch.ones(1, dtype=torch.float64), torch.zeros(1, dtype=torch.float64)
        for i in range(steps):
            state = runge_kutta(lambda t, s: (s[0] * math.cos(t),) * 2, state, 2 * i / steps, 2 * (i + 1) / steps)
        exact = math.exp(math.sin(2))
        errors.append([abs(float(state[0]) - exact), abs(float(state[1]) - exact + 1)])
    slopes = torch.log2(torch.tensor(errors[:-1]) / torch.tensor(errors[1:]))
    assert ((slopes > 3.7) & (slopes < 4.3)).all(), slopes
