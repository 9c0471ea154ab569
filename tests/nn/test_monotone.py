"""Increasing maps of numbers: slopes against autograd, inverses, identities, and the mixture's own distribution."""

import math

import pytest
import torch
from torch import nn

from fourfold.nn.coupling_stack import CouplingStack
from fourfold.nn.made import MaskedMLP, MaskedStack
from fourfold.nn.monotone import Affine, LogisticMixture, Spline, Triangular
from fourfold.nn.reading.labels import LabelReading
from fourfold.nn.splines import knots_of, spline, spline_inverse, spline_value

MAPS = [Affine(), Spline(8, 3.0), LogisticMixture(5), LogisticMixture(1)]


@pytest.mark.parametrize("f", MAPS, ids=str)
def test_slopes_are_those_of_autograd(f):
    torch.manual_seed(0)
    x, h = (2 * torch.randn(500, dtype=torch.float64)).requires_grad_(), torch.randn(500, f.values).double()
    y, log_slope = f(x, h)
    (slope,) = torch.autograd.grad(y.sum(), x)
    torch.testing.assert_close(log_slope, slope.log(), atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("f", MAPS, ids=str)
@pytest.mark.parametrize("scale", [0.3, 1.0])
def test_inverses_lead_back(f, scale):
    torch.manual_seed(0)
    h, y = scale * torch.randn(2000, f.values), 2 * torch.randn(2000)
    x = f.inverse(y, h)
    torch.testing.assert_close(f(x, h)[0], y, atol=3e-3, rtol=1e-3)
    exact = f.inverse(y.double(), h.double())
    torch.testing.assert_close(f(exact, h.double())[0], y.double(), atol=1e-8, rtol=1e-8)


@pytest.mark.parametrize("f", [Affine(), Spline(6)], ids=str)
def test_zeros_are_the_identity(f):
    x = torch.linspace(-6, 6, 101)
    y, log_slope = f(x, torch.zeros(101, f.values))
    torch.testing.assert_close(y, x, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(log_slope, torch.zeros(101), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("inner", [Affine(), Spline(4), LogisticMixture(3)], ids=str)
def test_triangular_maps_invert_with_the_diagonal_of_their_jacobian(inner):
    torch.manual_seed(0)
    f = Triangular(5, inner)
    x, h = torch.randn(3, 5).double(), torch.randn(3, 5, f.values).double()
    y, log_slope = f(x, h)
    torch.testing.assert_close(f.inverse(y, h), x, atol=1e-7, rtol=1e-7)
    for i in range(3):
        jacobian = torch.autograd.functional.jacobian(lambda x, i=i: f(x, h[i])[0], x[i])
        assert (jacobian.triu(1) == 0).all()
        torch.testing.assert_close(jacobian.diagonal().log(), log_slope[i])


def test_a_triangular_affine_map_draws_any_covariance():
    """With ``A = I - diag(L) L^-1`` and scales ``1 / diag(L)``, normal noise comes back with covariance ``L L^T``."""
    torch.manual_seed(0)
    L = torch.randn(4, 4).double().tril(-1) + torch.diag(0.5 + torch.rand(4).double())
    f, d = Triangular(4, Affine(50.0)), L.diagonal()
    a = torch.eye(4).double() - d[:, None] * torch.linalg.inv(L)
    s = 50 * torch.atanh(-d.log() / 50)
    h = torch.cat([a, s[:, None], torch.zeros(4, 1).double()], 1)
    z = torch.randn(20, 4).double()
    torch.testing.assert_close(f.inverse(z, h.expand(20, 4, 6)), z @ L.mT)


def test_the_float64_fallback_mends_steep_splines():
    torch.manual_seed(0)
    f, h, y = Spline(16, 4.0), 6 * torch.randn(20_000, 49), 4 * (2 * torch.rand(20_000) - 1)
    plain, mended = f._inverse(y, *f._parameters(h)), f.inverse(y, h)
    off = [(f(x.double(), h.double())[0] - y).abs() for x in (plain, mended)]
    assert (off[1] > 1e-3).sum() <= (off[0] > 1e-3).sum()
    assert off[1].mean() <= off[0].mean()


def test_splines_agree_with_their_knots_and_go_on_as_the_identity():
    torch.manual_seed(0)
    knots = knots_of(torch.randn(7).double(), torch.randn(7).double(), torch.randn(6).double(), 2.0)
    x = torch.cat([knots.x, torch.tensor([-5.0, 5.0])])
    y, log_slope = spline(x, type(knots)(*(t[:, None].expand(-1, len(x)) for t in knots)), 2.0)
    torch.testing.assert_close(y, torch.cat([knots.y, torch.tensor([-5.0, 5.0])]).double())
    torch.testing.assert_close(log_slope[1:7].exp(), knots.d[1:7])
    back = spline_inverse(y, type(knots)(*(t[:, None].expand(-1, len(x)) for t in knots)), 2.0)
    torch.testing.assert_close(back, x)


def test_a_mixture_maps_its_own_density_to_the_normal():
    torch.manual_seed(0)
    f, h = LogisticMixture(4), torch.randn(1, 12).double()
    log_w, m, log_s = f._parameters(h)
    x = torch.linspace(-60, 60, 4001, dtype=torch.float64)
    y, log_slope = f(x, h.expand(len(x), -1))
    density = (log_slope - y.square() / 2 - math.log(2 * math.pi) / 2).exp()
    a = (x[:, None] - m) / log_s.exp()
    direct = (log_w.exp() / log_s.exp() * torch.sigmoid(a) * torch.sigmoid(-a)).sum(1)
    torch.testing.assert_close(density, direct, atol=1e-9, rtol=1e-5)
    below = (log_w.exp() * torch.sigmoid(a)).sum(1)
    inner = (below > 1e-6) & (below < 1 - 1e-6)
    torch.testing.assert_close(torch.special.ndtr(y)[inner], below[inner], atol=1e-8, rtol=1e-6)


def test_mixtures_stay_finite_far_out():
    f, x = LogisticMixture(3), torch.tensor([-1e4, -50.0, 50.0, 1e4], requires_grad=True)
    y, log_slope = f(x, torch.zeros(4, 9))
    (log_slope - y.square() / 2).sum().backward()
    assert y.isfinite().all()
    assert log_slope.isfinite().all()
    assert x.grad.isfinite().all()


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("dim", [1, 2, 5])
def test_masked_networks_see_earlier_coordinates_alone(dim, reverse):
    torch.manual_seed(0)
    net = MaskedMLP(dim, 3, 24, 2, reverse, waves=2, reading=LabelReading(2))
    for p in net.parameters():
        nn.init.normal_(p, std=0.5)
    x = torch.randn(1, dim)
    jacobian = torch.autograd.functional.jacobian(lambda x: net(x, torch.tensor([1])), x)[0, :, :, 0].abs().sum(1)
    earlier = torch.ones(dim, dim).tril(-1) if not reverse else torch.ones(dim, dim).triu(1)
    assert ((jacobian > 0) == (earlier > 0)).all()
    assert not torch.equal(net(x, torch.tensor([0])), net(x, torch.tensor([1])))
    assert torch.equal(net(x), net(x, torch.tensor([-1])))


def test_a_stack_counts_each_layer_as_its_part():
    assert MaskedStack(2, 2, 8, 1, layers=4).share == 0.25


@pytest.mark.parametrize("dim", [2, 3, 7])
def test_couplings_invert_with_their_log_determinant(dim):
    torch.manual_seed(0)
    net = CouplingStack(dim, Spline(6), 16, 1, 4, reading=LabelReading(2))
    for p in net.parameters():
        nn.init.normal_(p, std=0.1)
    x, cond = torch.randn(5, dim), torch.tensor([0, 1, -1, 0, 1])
    z, log_det = net(x, cond, True)
    again, back = net(z, cond, False)
    torch.testing.assert_close(again, x, atol=1e-2, rtol=1e-2)
    torch.testing.assert_close(back, -log_det, atol=1e-2, rtol=1e-2)
    for i in range(5):
        jacobian = torch.autograd.functional.jacobian(lambda x, i=i: net(x[None], cond[i : i + 1], True)[0][0], x[i])
        torch.testing.assert_close(jacobian.slogdet()[1], log_det[i], atol=1e-3, rtol=1e-3)


def test_couplings_need_two_dimensions():
    with pytest.raises(ValueError, match="at least 2"):
        CouplingStack(1, Affine())


def test_the_value_of_a_spline_alone_is_that_beside_its_slope():
    torch.manual_seed(0)
    knots = knots_of(torch.randn(6, 50), torch.randn(6, 50), torch.randn(5, 50), 3.0)
    x = 4 * torch.randn(50)
    assert torch.equal(spline_value(x, knots, 3.0), spline(x, knots, 3.0)[0])
