import math

import pytest
import torch

from fourfold.maths.paths import EDM, VE, VP, Cosine, LinearLogSNR, Path, RectifiedFlow, SubVP, broadcast, time_at

PATHS = [RectifiedFlow(), EDM(), VE(), VP(), SubVP(), Cosine(), LinearLogSNR(), VP(0.5, 10.0), EDM(0.01, 10.0, 3.0)]
each_path = pytest.mark.parametrize("path", PATHS, ids=lambda p: f"{type(p).__name__}-{p.t_max}")


def times(path: Path, n: int = 101) -> torch.Tensor:
    """Strictly inside the interval, where every path is smooth."""
    share = torch.linspace(0.01, 0.99, n, dtype=torch.float64)
    return path.t_min + (path.t_max - path.t_min) * share


@each_path
@pytest.mark.parametrize("name", ["alpha", "sigma"])
def test_derivatives_are_autograds(path, name):
    t = times(path).requires_grad_()
    value = getattr(path, name)(t)
    expected = torch.autograd.grad(value.sum(), t)[0] if value.requires_grad else torch.zeros_like(t)
    torch.testing.assert_close(getattr(path, f"d_{name}")(t).detach(), expected, rtol=1e-9, atol=1e-12)


@each_path
def test_starts_at_data_and_ends_in_noise(path):
    ends = torch.tensor([path.t_min, path.t_max], dtype=torch.float64)
    (alpha_0, alpha_1), (sigma_0, sigma_1) = path.alpha(ends).tolist(), path.sigma(ends).tolist()
    assert alpha_0 == pytest.approx(1, abs=2e-3)
    assert sigma_0 <= 0.011
    assert sigma_1 > 6 * alpha_1


@each_path
def test_log_snr_falls_and_is_the_ratio(path):
    t = times(path)
    log_snr = path.log_snr(t)
    assert (log_snr.diff() < 0).all()
    torch.testing.assert_close(log_snr.exp() * path.sigma(t), path.alpha(t))


@each_path
def test_the_time_of_a_log_snr_is_its_inverse(path):
    """In closed form, and by bisection, which a path of others has by itself; beyond the ends it is the end's."""
    t = times(path)
    torch.testing.assert_close(time_at(path, path.log_snr(t)), t, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(Path.time(path, path.log_snr(t)), t, rtol=1e-9, atol=1e-12)
    beyond = torch.tensor([math.inf, 1e4, 60, -60, -1e4, -math.inf])
    assert time_at(path, beyond).tolist() == pytest.approx([path.t_min] * 3 + [path.t_max] * 3, abs=1e-12)


@each_path
@pytest.mark.parametrize("steps", [1, 2, 18, 100])
def test_grid_falls_from_noise_to_data(path, steps):
    grid = path.grid(steps)
    assert grid.shape == (steps + 1,)
    assert grid.dtype == torch.float64
    assert (grid.diff() < 0).all()
    assert grid[0].item() == pytest.approx(path.t_max, rel=1e-9)
    assert grid[-1].item() == pytest.approx(path.t_min, abs=1e-9)


@pytest.mark.parametrize("path", [VP(), Cosine()], ids=["VP", "Cosine"])
def test_variance_is_preserved(path):
    t = times(path)
    torch.testing.assert_close(path.alpha(t) ** 2 + path.sigma(t) ** 2, torch.ones_like(t))


def test_sub_vp_variance_is_below_vp():
    t = times(VP())
    torch.testing.assert_close(SubVP().sigma(t), VP().sigma(t) ** 2)
    assert (SubVP().sigma(t) < VP().sigma(t)).all()


def test_vp_alpha_is_the_integral_of_beta():
    t = torch.linspace(0, 0.7, 100_001, dtype=torch.float64)
    beta = 0.1 + 19.9 * t
    integral = torch.trapezoid(beta, t)
    torch.testing.assert_close(VP().alpha(t[-1:])[0], torch.exp(-integral / 2))


def test_vp_sigma_keeps_its_digits_near_the_data():
    t = torch.tensor([1e-4], dtype=torch.float32)
    exact = VP().sigma(t.double())
    torch.testing.assert_close(VP().sigma(t).double(), exact, rtol=1e-5, atol=0)


def test_edm_grid_is_the_papers():
    rho, low, high = 7.0, 0.002, 80.0
    expected = [(high ** (1 / rho) + i / 17 * (low ** (1 / rho) - high ** (1 / rho))) ** rho for i in range(18)]
    torch.testing.assert_close(EDM().grid(17), torch.tensor(expected, dtype=torch.float64))


def test_cosine_is_trigonometric_flow():
    t = torch.tensor([0.5], dtype=torch.float64)
    assert Cosine().alpha(t).item() == pytest.approx(math.sqrt(0.5))
    assert Cosine().sigma(t).item() == pytest.approx(math.sqrt(0.5))


@each_path
def test_noised_has_the_mean_and_variance_it_says(path):
    t = times(path, 3)
    x_0 = torch.full((3, 20_000), 2.0, dtype=torch.float64)
    eps = torch.randn(3, 20_000, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    x_t = path.noised(x_0, eps, t)
    torch.testing.assert_close(
        (x_t.mean(1) - 2 * path.alpha(t)) / path.sigma(t), torch.zeros(3).double(), atol=0.03, rtol=0
    )
    torch.testing.assert_close(x_t.std(1) / path.sigma(t), torch.ones(3).double(), atol=0.03, rtol=0)


def test_broadcast_takes_the_shape_and_dtype_of_the_example():
    t = broadcast(torch.arange(2, dtype=torch.float64), torch.zeros(2, 3, 4, 4))
    assert t.shape == (2, 1, 1, 1)
    assert t.dtype == torch.float32


def test_the_equations_are_the_papers():
    """Song et al. 2021, eq. 9, 11 and table 1: drift and diffusion of VE, VP and sub-VP."""
    t = torch.linspace(0.05, 0.95, 19, dtype=torch.float64)
    beta, integral = 0.1 + 19.9 * t, 0.1 * t + 19.9 * t**2 / 2
    for path in (VP(), SubVP()):
        torch.testing.assert_close(path.drift(t), -beta / 2)
    torch.testing.assert_close(VP().diffusion(t), beta.sqrt())
    torch.testing.assert_close(SubVP().diffusion(t), (beta * (1 - torch.exp(-2 * integral))).sqrt())
    torch.testing.assert_close(VE().drift(t), torch.zeros_like(t))
    torch.testing.assert_close(VE().diffusion(t), 0.01 * 5000**t * math.sqrt(2 * math.log(5000)))


@each_path
def test_the_equation_has_the_moments_of_the_path(path):
    """D alpha / dt = f alpha and d sigma^2 / dt = 2 f sigma^2 + g^2."""
    t = times(path).requires_grad_()
    d_variance = torch.autograd.grad((path.sigma(t) ** 2).sum(), t)[0]
    f, g, t = path.drift(t).detach(), path.diffusion(t).detach(), t.detach()
    torch.testing.assert_close(path.d_alpha(t), f * path.alpha(t))
    torch.testing.assert_close(d_variance, 2 * f * path.sigma(t) ** 2 + g**2)
